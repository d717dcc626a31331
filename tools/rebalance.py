"""Re-balance VGG-16-gray so that every level of the hypercolumn has unit second moment (A.1)."""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import lmdb
import numpy as np
import numpy.typing as npt
from caffe.proto import caffe_pb2
from tqdm import tqdm

from autocolor.color import lightness
from autocolor.lmdb_io import decode_datum, read_datums
from autocolor.rebalance import rebalance, second_moments
from autocolor.surgery import WeightsError, read_caffemodel, write_caffemodel
from autocolor.vgg16 import vgg16_gray_features


def read_images(path: Path, count: int) -> list[caffe_pb2.Datum]:
    """Return the first images of an LMDB, at most `count`.

    Raises
    ------
    WeightsError
        If there are fewer than two: one to estimate on and one to check on.
    """
    datums = [datum for _, datum in itertools.islice(read_datums(path), count)]
    if len(datums) < 2:
        raise WeightsError(f"{path}: expected at least 2 images, got {len(datums)}")
    return datums


def decode_lightness(datums: Sequence[caffe_pb2.Datum]) -> Iterator[npt.NDArray[np.float32]]:
    """Lightness (H, W) in [0, 1] of each image."""
    for datum in tqdm(datums, unit="image"):
        yield lightness(decode_datum(datum).astype(np.float32) / 255)


def plot_moments(names: Sequence[str], before: Sequence[float], after: Sequence[float],
                 path: Path) -> None:  # fmt: skip
    """Bar chart of second moments before and after."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    positions = np.arange(len(names))
    axes.bar(positions - 0.2, before, 0.4, label="before")
    axes.bar(positions + 0.2, after, 0.4, label="after")
    axes.axhline(1, color="grey", linewidth=1)
    axes.set_yscale("log")
    axes.set_xticks(positions, names, rotation=60, ha="right")
    axes.set_ylabel("second moment $E[X^2]$")
    axes.legend()
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="""\
example:
  python tools/rebalance.py --weights build/data/vgg16_gray.caffemodel \\
      --lmdb build/data/train_lmdb --out build/data/vgg16_gray_balanced.caffemodel

The moments are estimated on the first images of the LMDB and checked on as many that follow; of a
small LMDB, each gets half.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--weights", type=Path, required=True, help="caffemodel to re-balance")
    parser.add_argument("--lmdb", type=Path, required=True, help="training images")
    parser.add_argument("--out", type=Path, required=True, help="caffemodel to write")
    parser.add_argument("--images", type=int, default=32,
                        help="images to estimate on (default: %(default)s)")  # fmt: skip
    parser.add_argument("--report", type=Path, help="folder for the table and the plot")
    arguments = parser.parse_args(argv)
    if arguments.images < 1:
        parser.error("--images: expected at least 1")

    net = vgg16_gray_features()
    try:
        weights = read_caffemodel(arguments.weights)
        datums = read_images(arguments.lmdb, 2 * arguments.images)
        half = len(datums) // 2
        before = second_moments(net, weights, decode_lightness(datums[:half]))
        balanced = rebalance(net, weights, before)
        after = second_moments(net, balanced, decode_lightness(datums[half:]))
        write_caffemodel(arguments.out, balanced, "VGG16-gray balanced")
    except (OSError, lmdb.Error, WeightsError) as error:
        print(f"rebalance: error: {error}", file=sys.stderr)
        return 1
    print(f"{'layer':8} {'E[X^2]':>12} {'m':>10} {'E[X^2] after, other images':>27}")
    for name in before:
        print(f"{name:8} {before[name]:12.5g} {before[name] ** -0.5:10.5g} {after[name]:27.3f}")
    if arguments.report:
        arguments.report.mkdir(parents=True, exist_ok=True)
        with (arguments.report / "second_moments.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["layer", "before", "after"])
            writer.writerows([name, before[name], after[name]] for name in before)
        plot_moments(list(before), list(before.values()), list(after.values()),
                     arguments.report / "second_moments.png")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
