#!/usr/bin/env bash
# Static checks of everything that is tracked; tools/test.sh runs them first.
set -euo pipefail

fix=
case "${1-}" in
  "") ;;
  --fix) fix=1 ;;
  -h | --help)
    cat <<'USAGE'
usage: tools/lint.sh [--fix]

Checks the code without running it: ruff (rules and format) and mypy (strict) for Python, clang-format
and clang-tidy for C++ and CUDA, shellcheck for bash, hadolint for Dockerfiles, gersemi
for CMake. What they ask for is in
pyproject.toml, .clang-format, .clang-tidy and .gersemirc, their versions in tools/requirements.txt.
Runs all of them, says which fail and ends with status 1 if one does. Needs tools/setup.sh.

  --fix       first write what the formatters and ruff's safe fixes would change
  -h, --help  show this text
USAGE
    exit 0 ;;
  *) echo "lint.sh: error: unknown argument '$1' (see --help)" >&2; exit 2 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -f build/env.sh ] || { echo "lint.sh: error: run tools/setup.sh first" >&2; exit 2; }
# shellcheck source=/dev/null
source build/env.sh

mapfile -t cpp < <(git ls-files '*.cpp' '*.hpp' '*.h' '*.cu' '*.cuh')
mapfile -t shell < <(git ls-files '*.sh' .ci/run)
mapfile -t docker < <(git ls-files '*Dockerfile.cpu' '*Dockerfile.cuda' '*Dockerfile.serve')
mapfile -t cmake < <(git ls-files '*CMakeLists.txt' '*.cmake')
# Not the layers' unit tests, most of whose text is gtest's macros.
mapfile -t tidied < <(git ls-files 'caffe_layers/src/caffe/layers/*.cpp' 'caffe_layers/src/caffe/util/*.cpp' 'tests/cpp/kernels*.cpp')

if [ -n "$fix" ]; then
  ruff check --quiet --fix-only .
  ruff format --quiet .
  clang-format -i "${cpp[@]}"
  gersemi --quiet --in-place "${cmake[@]}"
fi

# clang-tidy compiles as the build does. Headers that are not ours are system headers to it. A file that
# was clean is not looked at again, in any clone, until it, a header of ours, a setting or the build changes.
tidy() {
  local clean=$AUTOCOLOR_CACHE/lint settings file key
  mkdir -p "$clean"
  ninja -C build -t compdb | sed 's/ccache //' >build/lint/compile_commands.json
  settings=$(git ls-files -z '*.hpp' '*.h' '*.inc' caffe_layers/proto caffe_layers/compat .clang-tidy \
    tools/lint.sh tools/requirements.txt | xargs -0 cat build/lint/compile_commands.json \
    | sed "s#$PWD##g" | sha256sum)
  # shellcheck disable=SC2016 # the inner bash expands it
  for file in "${tidied[@]}"; do
    key=$clean/$(printf '%s\n' "$settings" "$file" | cat - "$file" | sha256sum | cut -c1-32)
    [ -e "$key" ] || printf '%s\n' "$file" "$key"
  done | xargs -r -P "$(nproc)" -n 2 bash -c 'clang-tidy --quiet -p build/lint \
    --extra-arg="-idirafter$(g++ -print-file-name=include)" "$0" && touch "$1"'
}

mkdir -p build/lint
: >build/lint/failed
check() { # check NAME COMMAND...
  local name=$1 started=$SECONDS log
  log="build/lint/${1// /_}.log"
  shift
  if "$@" >"$log" 2>&1; then
    printf '%-12s ok (%d s)\n' "$name" $((SECONDS - started))
  else
    printf '%-12s failed (%s):\n' "$name" "$log"
    head -n 40 "$log"
    echo "$name" >>build/lint/failed
  fi
}
check mypy mypy & # on one core, beside the others
check "ruff check" ruff check --quiet .
check "ruff format" ruff format --check --quiet .
check shellcheck shellcheck "${shell[@]}"
check hadolint hadolint "${docker[@]}"
check gersemi gersemi --check "${cmake[@]}"
check clang-format clang-format --dry-run -Werror "${cpp[@]}"
check clang-tidy tidy
wait
mapfile -t failed <build/lint/failed
if [ ${#failed[@]} -gt 0 ]; then
  echo "lint.sh: error: ${#failed[@]} of the checks failed: ${failed[*]} (tools/lint.sh --fix lays out the code)" >&2
  exit 1
fi
