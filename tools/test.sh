#!/usr/bin/env bash
# Sets up and runs all tests.
set -euo pipefail

all=
pytest_arguments=()
while [ $# -gt 0 ]; do
  case "$1" in
    --all) all=1 ;;
    --) shift; pytest_arguments=("$@"); break ;;
    -h | --help)
      cat <<'USAGE'
usage: tools/test.sh [--all] [-- PYTEST ARGUMENTS]

Sets up (tools/setup.sh), then runs the layers' unit tests, a ThreadSanitizer and an
AddressSanitizer run of the kernels, and the Python tests. --all adds Caffe's own 1,138 unit tests.
USAGE
      exit 0 ;;
    *) echo "test.sh: error: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
  shift
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup.sh ${all:+--caffe-tests}
# shellcheck source=/dev/null
source build/env.sh
export GLOG_minloglevel=2 GLOG_logtostderr=1 # no log files in /tmp

echo "== unit tests of the layers"
build/bin/autocolor_tests --gtest_filter='-*GPU*'

echo "== kernels under sanitizers"
mkdir -p build/sanitize
for sanitizer in thread address,undefined; do
  binary=build/sanitize/scatter_${sanitizer%%,*}
  g++ -std=c++17 -O1 -g -Wall -Wextra -Werror -fsanitize="$sanitizer" -fno-sanitize-recover=all \
    -Icaffe_layers/include tests/cpp/scatter_threads.cpp -o "$binary" -pthread
  "$binary" && echo "clean under -fsanitize=$sanitizer"
done

if [ -n "$all" ]; then
  echo "== Caffe's own unit tests"
  source_tree=$(sed -n 's/^CAFFE_SOURCE_DIR:PATH=//p' build/CMakeCache.txt)
  (cd "$source_tree" && "$OLDPWD/build/bin/caffe_tests" --gtest_filter='-*GPU*')
fi

echo "== Python tests"
python -m pytest "${pytest_arguments[@]}"
