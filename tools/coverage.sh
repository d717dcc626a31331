#!/usr/bin/env bash
# Runs the tests and lists the lines of code that none of them reaches.
set -euo pipefail

parts=(cpp python)
pytest_arguments=()
while [ $# -gt 0 ]; do
  case "$1" in
    --cpp) parts=(cpp) ;;
    --python) parts=(python) ;;
    --) shift; pytest_arguments=("$@"); break ;;
    -h | --help)
      cat <<'USAGE'
usage: tools/coverage.sh [--cpp | --python] [-- PYTEST ARGUMENTS]

Runs the layers' unit tests, built for gcov, and the Python tests under coverage.py, command-line tools
that they start included. Writes into build/coverage:

  cpp.txt, python.txt  each file, the share of its lines that are reached, and those that are not
  cpp.json, python.json  the same for other programs

and prints the totals. The exit status is that of the tests. Needs tools/setup.sh.

  --cpp       only the layers
  --python    only Python
  -h, --help  show this text
USAGE
      exit 0 ;;
    *) echo "coverage.sh: error: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
  shift
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -f build/env.sh ] || { echo "coverage.sh: error: run tools/setup.sh first" >&2; exit 2; }
# shellcheck source=/dev/null
source build/env.sh
export GLOG_minloglevel=2 GLOG_logtostderr=1 # no log files in /tmp
out=build/coverage
mkdir -p "$out"

cpp() {
  local folder=$out/cpp source_tree
  source_tree=$(sed -n 's/^CAFFE_SOURCE_DIR:PATH=//p' build/CMakeCache.txt)
  mkdir -p "$folder"
  cmake -S . -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=None -DCAFFE_SOURCE_DIR="$source_tree" \
    -DCMAKE_CXX_COMPILER_LAUNCHER=ccache "-DCMAKE_CXX_FLAGS=-O1 --coverage" \
    -DPython3_EXECUTABLE="$PWD/build/venv/bin/python" >"$folder/cmake.log" 2>&1 \
    || { tail -n 20 "$folder/cmake.log" >&2; return 1; }
  ninja -C "$folder" autocolor_tests >"$folder/build.log" 2>&1 \
    || { grep -m 20 -E 'error|FAILED' "$folder/build.log" >&2; return 1; }
  find "$folder" -name '*.gcda' -delete # of earlier runs
  "$folder/bin/autocolor_tests" >"$folder/tests.log" || { tail -n 30 "$folder/tests.log"; return 1; }
  gcovr --root . --filter caffe_layers/ --exclude '.*/test_.*' --object-directory "$folder" \
    --txt "$out/cpp.txt" --json-summary "$out/cpp.json" >"$folder/gcovr.log" 2>&1 \
    || { tail -n 20 "$folder/gcovr.log" >&2; return 1; }
  grep '^TOTAL' "$out/cpp.txt" | sed 's/^TOTAL/C++ layers/'
}

python() {
  local status=0
  rm -f "$out"/python.data*
  coverage run -m pytest "${pytest_arguments[@]}" || status=$?
  coverage combine --quiet
  coverage report >"$out/python.txt"
  coverage json --quiet -o "$out/python.json"
  grep '^TOTAL' "$out/python.txt" | sed 's/^TOTAL/Python    /'
  return "$status"
}

for part in "${parts[@]}"; do
  "$part"
done
echo "the lines that are not reached are in $out/*.txt"
