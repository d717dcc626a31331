#!/usr/bin/env bash
# Builds the documentation site: pages, library reference, gallery and tutorial.
set -euo pipefail

out=build/docs
execute=1
fresh=
while [ $# -gt 0 ]; do
  case "$1" in
    --out) [ $# -ge 2 ] || { echo "docs.sh: error: --out: expected a folder" >&2; exit 2; }; out=$2; shift ;;
    --no-run) execute= ;;
    --fresh) fresh=1 ;;
    -h | --help)
      cat <<'USAGE'
usage: tools/docs.sh [--out FOLDER] [--fresh | --no-run]

Builds the documentation site with Sphinx from docs/, the READMEs and the docstrings of
python/autocolor, warnings being errors, and prints where its first page is. The scripts of
docs/gallery and the notebook docs/tutorial.ipynb run on the way and their pictures go into the site;
one that fails ends the build. What has not changed is not run again. Nothing is downloaded, and the
site loads nothing from other places. Needs tools/setup.sh.

  --out FOLDER  where to build (default build/docs; the site is in FOLDER/html)
  --fresh       run all scripts and the notebook again, also those that have not changed
  --no-run      run no script and no notebook: a quick check of text, links and docstrings, after
                which the gallery and the tutorial have no pictures
  -h, --help    show this text
USAGE
      exit 0 ;;
    *) echo "docs.sh: error: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
  shift
done

mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -f build/env.sh ] || { echo "docs.sh: error: run tools/setup.sh first" >&2; exit 2; }
# shellcheck source=/dev/null
source build/env.sh
export GLOG_minloglevel=2 GLOG_logtostderr=1 # no log files in /tmp

[ -z "$fresh" ] || rm -rf docs/generated "$out/html" "$out/doctrees" "$out/notebooks"
options=(-W --keep-going --jobs 1 -q -d "$out/doctrees")
options+=(-D nb_execution_cache_path="$out/notebooks")
[ -n "$execute" ] || options+=(-D plot_gallery=0 -D nb_execution_mode=off)
python -m sphinx -b html "${options[@]}" docs "$out/html" \
  || { echo "docs.sh: error: Sphinx reported what stands above" >&2; exit 1; }
echo "$out/html/index.html"
