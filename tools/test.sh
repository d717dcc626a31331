#!/usr/bin/env bash
# Sets up and runs all tests.
set -euo pipefail

all=
sanitize=
quick=
isa=
pytest_arguments=()
while [ $# -gt 0 ]; do
  case "$1" in
    --all) all=1 ;;
    --sanitize) sanitize=1 ;;
    --quick) quick=1 ;;
    --isa)
      [ "${2-}" = avx2 ] || { echo "test.sh: error: --isa: expected avx2, got '${2-}'" >&2; exit 2; }
      isa=$2
      shift ;;
    --) shift; pytest_arguments=("$@"); break ;;
    -h | --help)
      cat <<'USAGE'
usage: tools/test.sh [--quick | --all | --sanitize] [--isa avx2] [-- PYTEST ARGUMENTS]

Sets up (tools/setup.sh), then runs the static checks (tools/lint.sh), the layers' unit tests, the
kernels under ThreadSanitizer, AddressSanitizer and UndefinedBehaviorSanitizer, the Python tests and,
where there is nvcc, compiles and links the CUDA code and runs its tests (which need a GPU, and are
skipped where there is none).

  --quick     only what takes less than three minutes on two cores once all is built: the static checks,
              the layers' unit tests, and the Python tests that are not marked slow
  --all       also Caffe's own 1,138 unit tests
  --sanitize  only the sanitizers: the kernels, and the layers' unit tests as well
  --isa avx2  keep oneDNN, OpenBLAS and NumPy from instructions that a processor with AVX2 lacks
USAGE
      exit 0 ;;
    *) echo "test.sh: error: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
  shift
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
started=$SECONDS
if [ -n "$quick" ]; then
  bash tools/setup.sh
else
  bash tools/setup.sh --browser ${all:+--caffe-tests}
fi
# shellcheck source=/dev/null
source build/env.sh
export GLOG_minloglevel=2 GLOG_logtostderr=1 # no log files in /tmp
section() { echo "== $1 ($((SECONDS - started)) s)"; }
# A process a core, of which each takes whole files: their fixtures are made once. Those of tests/cli, which
# take longest, come first. Beyond four, memory would be what is short. The threads of one would only wait
# for those of the others: each has its share of the cores.
processes=$(($(nproc) < 4 ? $(nproc) : 4))
python_tests() { # PYTEST ARGUMENT...
  OMP_NUM_THREADS=$(($(nproc) / processes)) python -m pytest --numprocesses "$processes" --dist loadfile \
    --no-loadscope-reorder "$@"
}
if [ -n "$isa" ]; then
  export ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell
  export NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR"
fi
if [ -z "$sanitize" ]; then
  section "static checks"
  bash tools/lint.sh
fi
if [ -n "$quick" ]; then
  section "unit tests of the layers"
  build/bin/autocolor_tests
  section "Python tests that are not slow"
  python_tests -m "not slow" "${pytest_arguments[@]}"
  echo "quick: $((SECONDS - started)) s"
  exit 0
fi
source_tree=$(sed -n 's/^CAFFE_SOURCE_DIR:PATH=//p' build/CMakeCache.txt)

# Builds the layers' unit tests in a folder of their own: build_tests FOLDER CMAKE_OPTION...
build_tests() {
  local folder=$1
  shift
  mkdir -p "$folder"
  cmake -S . -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCAFFE_SOURCE_DIR="$source_tree" \
    -DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache \
    -DPython3_EXECUTABLE="$PWD/build/venv/bin/python" "$@" >"$folder/cmake.log" 2>&1 \
    || { tail -n 20 "$folder/cmake.log" >&2; exit 1; }
  NINJA_STATUS='[%f/%t] ' ninja -C "$folder" autocolor_tests >"$folder/build.log" 2>&1 \
    || { grep -m 20 -E 'error|warning|FAILED' "$folder/build.log" >&2; exit 1; }
}

# Compiles and runs the kernels under a sanitizer: sanitized_kernels SANITIZER
sanitized_kernels() {
  local binary=build/sanitize/kernels_${1%%,*}
  g++ -std=c++17 -O1 -g -Wall -Wextra -Werror -fsanitize="$1" -fno-sanitize-recover=all \
    -Icaffe_layers/include tests/cpp/kernels_threads.cpp -o "$binary" -pthread || return 1
  "$binary" >"$binary.log" || { cat "$binary.log"; return 1; }
  echo "$(grep -c ' ok$' "$binary.log") checks, clean under -fsanitize=$1"
}

section "kernels under sanitizers"
mkdir -p build/sanitize
sanitizers=()
for sanitizer in thread address,undefined; do
  sanitized_kernels "$sanitizer" & # beside each other: most of it is one compiler's work
  sanitizers+=($!)
done
for process in "${sanitizers[@]}"; do wait "$process"; done
if [ -n "$sanitize" ]; then
  section "unit tests of the layers under sanitizers"
  build_tests build/sanitize/address \
    "-DCMAKE_CXX_FLAGS=-fsanitize=address,undefined -fno-sanitize-recover=all -g"
  build/sanitize/address/bin/autocolor_tests
  echo "clean under -fsanitize=address,undefined"
  exit 0
fi

section "unit tests of the layers"
build/bin/autocolor_tests
for threads in 1 4; do
  echo "the layers with $threads threads"
  OMP_NUM_THREADS=$threads build/bin/autocolor_tests --gtest_filter='-*DeathTest*' >build/gtest.log \
    || { cat build/gtest.log; exit 1; }
done

if nvcc=$(command -v nvcc || command -v /usr/local/cuda/bin/nvcc); then
  section "CUDA: compiling and linking every .cu with $nvcc"
  CUDACXX=$nvcc build_tests build/cuda -DWITH_CUDA=ON
  grep -- '-- CUDA' build/cuda/cmake.log
  build/cuda/bin/autocolor_tests --gpu
else
  section "CUDA: skipped, there is no nvcc on this machine"
fi

if [ -n "$all" ]; then
  section "Caffe's own unit tests"
  (cd "$source_tree" && "$OLDPWD/build/bin/caffe_tests" --gtest_filter='-*GPU*')
fi

section "Python tests"
python_tests "${pytest_arguments[@]}"
