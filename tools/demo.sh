#!/usr/bin/env bash
# Sets up, trains a colorizer for minutes, and scores it and the shipped model on photos unseen by both.
set -euo pipefail

minutes=2
while [ $# -gt 0 ]; do
  case "$1" in
    --long) minutes=15; shift ;;
    --minutes) minutes=${2:?--minutes needs a number}; shift 2 ;;
    -h | --help)
      cat <<'USAGE'
usage: tools/demo.sh [--long | --minutes N]

Sets everything up (tools/setup.sh), fetches the photos, trains a colorizer on frozen VGG-16 features
with `caffe train` for N minutes (default 2; --long: 15) and scores it and the model that comes with
autocolor on held-out photos. Results go to build/demo/: open build/demo/index.html. Downloads and
prepared data are kept, so a second run only trains: its training and results take the place of the
first one's.
USAGE
      exit 0 ;;
    *) echo "demo.sh: error: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup.sh
# shellcheck source=/dev/null
source build/env.sh
data=build/data
export GLOG_minloglevel=2 # Caffe's own log goes to build/demo/training/caffe.log

echo "== photos"
python data_prep/fetch_photos.py --out $data/photos \
  || echo "demo.sh: warning: going on without the photos that are missing" >&2
python data_prep/build_lmdb.py --photos $data/photos/train --list data_prep/photos.tsv \
  --validation 0.15 --out $data/train_lmdb --validation-out $data/validation_lmdb
echo "== VGG-16-gray"
[ -f $data/vgg16_gray.caffemodel ] || python tools/convert_vgg16.py --out $data/vgg16_gray.caffemodel
[ -f $data/vgg16_gray_balanced.caffemodel ] || python tools/rebalance.py \
  --weights $data/vgg16_gray.caffemodel --lmdb $data/train_lmdb \
  --images 32 --out $data/vgg16_gray_balanced.caffemodel --report $data
echo "== training and evaluation"
python tools/demo.py --minutes "$minutes" --data $data --out build/demo --force # of an earlier demo
