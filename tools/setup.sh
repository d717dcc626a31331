#!/usr/bin/env bash
# Sets everything up on a Debian 12 machine: system packages, a Python environment, Caffe with
# autocolor's layers. Safe to run again: what is done already is not done twice.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: tools/setup.sh [--caffe-tests] [--browser] [-D<cmake option> ...]

Builds into build/ and writes build/env.sh; `source build/env.sh` puts caffe, python and autocolor
on the PATH. Run as root, or as a user who may use sudo.

  --caffe-tests   also build Caffe's own unit tests (about 5 minutes more)
  --browser       also install chromium, in which the web page is tested (122 MB, 414 MB unpacked)
  -DNATIVE=ON     compile for this machine's processor instead of for any x86-64
  -DWITH_ONEDNN=OFF  leave convolutions on the CPU to Caffe's own code (docs/building.md)
  -DWITH_CUDA=ON  compile for NVIDIA GPUs as well, on a machine that has one (docs/building.md)
  -h, --help      show this text

environment:
  AUTOCOLOR_CACHE  downloads and compiled objects, shared between clones (default ~/.cache/autocolor)
  CAFFE_SOURCE     a tarball or an unpacked tree of BVLC Caffe, instead of downloading one
                   (or the word `apt` or `pip`, to use only that one of the two known sources)
USAGE
}

browser=
cmake_options=()
for argument in "$@"; do
  case "$argument" in
    --caffe-tests) cmake_options+=(-DCAFFE_TESTS=ON) ;;
    --browser) browser=1 ;;
    -D*) cmake_options+=("$argument") ;;
    -h | --help) usage; exit 0 ;;
    *) echo "setup.sh: error: unknown argument '$argument' (see --help)" >&2; exit 2 ;;
  esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build
cache=${AUTOCOLOR_CACHE:-$HOME/.cache/autocolor}
mkdir -p "$build" "$cache"
cache=$(cd "$cache" && pwd)
export AUTOCOLOR_CACHE=$cache

say() { printf '[setup %3ds] %s\n' "$SECONDS" "$*"; }
fail() { echo "setup.sh: error: $*" >&2; exit 1; }

# write_whole FILE TEXT: the file has all of the text or is as it was, whenever this is killed
write_whole() { printf '%s\n' "$2" >"$1.partial"; mv "$1.partial" "$1"; }

# Two set-ups of one clone, or two that fill one cache, take turns.
exec 9>"$cache/setup.lock"
flock -n 9 || { say "another set-up is running; waiting for it"; flock 9; }

# ---- system packages
apt_packages=(
  cmake ninja-build ccache g++ protobuf-compiler libprotobuf-dev libgoogle-glog-dev libgflags-dev
  libboost-system-dev libboost-thread-dev libboost-filesystem-dev libboost-python-dev
  libboost-regex-dev libhdf5-dev liblmdb-dev libopenblas-dev libopenblas0-pthread
  libdnnl-dev libxxhash-dev
  libopencv-core-dev libopencv-imgproc-dev libopencv-imgcodecs-dev
  python3 python3-dev python3-venv dpkg-dev ca-certificates
  graphviz patchelf
)
[ -z "$browser" ] || apt_packages+=(chromium)
missing=()
for package in "${apt_packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "these Debian packages are missing and there is no sudo;" \
      "as root, run: apt-get install --no-install-recommends ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq >"$build/apt.log" 2>&1 || say "apt-get update had errors (build/apt.log)"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    "${missing[@]}" >>"$build/apt.log" 2>&1 \
    || { tail -n 5 "$build/apt.log" >&2; fail "apt-get install failed; the log is build/apt.log"; }
fi

# ---- Python environment
python=$build/venv/bin/python
requirements=$root/tools/requirements.txt
stamp=$build/venv/requirements.sha256
wanted=$(cat "$requirements" "$root/pyproject.toml" | sha256sum)
if [ ! -x "$python" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  say "making the Python environment build/venv"
  # A run that was killed leaves an environment in pieces, which pip does not mend. A stamp says that
  # one is complete: without it, it is made anew, and while it is changed there is none. It cannot be
  # made elsewhere and renamed, as its programs name its folder.
  if [ ! -x "$python" ] || [ ! -f "$stamp" ]; then
    rm -rf "$build/venv"
    /usr/bin/python3 -m venv "$build/venv"
  fi
  rm -f "$stamp"
  export PIP_CACHE_DIR=$cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1
  # Python compiles a module when it is first imported; most of 1.6 GB never are.
  "$python" -m pip install --quiet --no-compile --require-hashes -r "$requirements" \
    || fail "pip could not install tools/requirements.txt"
  "$python" -m pip install --quiet --no-deps --no-build-isolation -e "$root" \
    || fail "pip could not install this project"
  site=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  echo "$build/python" >"$site/autocolor_pycaffe.pth" # makes `import caffe` work
  write_whole "$stamp" "$wanted"
fi

# ---- Caffe's source
say "looking for Caffe's source"
rm -rf "$cache"/{unpack,download}.?????? # of runs that were killed
source_tree=$("$root/tools/fetch_caffe.sh") || exit 1
say "Caffe's source is $source_tree"

# ---- build; ccache shares compiled objects between runs and between clones
export CCACHE_DIR=$cache/ccache CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=2G
say "configuring"
cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache \
  -DCAFFE_SOURCE_DIR="$source_tree" \
  -DPython3_EXECUTABLE="$python" "${cmake_options[@]}" >"$build/cmake.log" 2>&1 \
  || { tail -n 20 "$build/cmake.log" >&2; fail "cmake failed; the log is build/cmake.log"; }
say "building Caffe with autocolor's layers (log: build/build.log)"
# Progress is one line that rewrites itself on a terminal, and a few lines in a log file.
NINJA_STATUS='[%f/%t] ' ninja -C "$build" 2>&1 | tee "$build/build.log" \
  | if [ -t 1 ]; then cut -c1-100 | while read -r line; do printf '\r\033[K%s' "$line"; done; echo
    else awk '/^\[[0-9]+\/[0-9]+\]/ && NR % 5 == 0 { print "  " $1; fflush() }'; fi \
  || { grep -m 5 -E 'error|FAILED' "$build/build.log" >&2; fail "the build failed; the log is build/build.log"; }

mkdir -p "$build/data" "$build/snapshots"
cat >"$build/env.sh.partial" <<ENV
# source this: puts caffe, python (with \`import caffe\`) and autocolor on the PATH
export PATH="$build/venv/bin:$build/bin:\$PATH"
export AUTOCOLOR_CACHE="\${AUTOCOLOR_CACHE:-$cache}"
export CCACHE_DIR="$CCACHE_DIR" CCACHE_BASEDIR="$root" CCACHE_NOHASHDIR=1
# OpenMP's threads sleep while they wait: spinning, they would hinder OpenBLAS and other processes.
export OMP_WAIT_POLICY="\${OMP_WAIT_POLICY:-passive}"
ENV
mv "$build/env.sh.partial" "$build/env.sh"

say "assembling the model that comes with autocolor"
GLOG_minloglevel=2 "$python" -m autocolor.runtime.shipped >/dev/null \
  || say "warning: that failed; the first colorization will try again"
say "done; next: source build/env.sh"
