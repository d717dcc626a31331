"""Re-balance a network so that every level of the hypercolumn has unit second moment (A.1)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from autocolor.core.arrays import Float32Array
from autocolor.core.files import atomic_path
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.data.lmdb_io import decode_datum, sample_datums
from autocolor.imaging.color import lightness
from autocolor.nets.rebalance import SecondMoment, cross_validate, measure, rebalance
from autocolor.nets.surgery import net_shapes, read_net, transplant
from autocolor.nets.vgg16 import vgg16_gray_features
from autocolor.nets.weights_io import WeightsError, check_name, read_weights, write_weights


def write_report(
    folder: Path, before: Mapping[str, SecondMoment], after: Mapping[str, SecondMoment]
) -> None:
    """Write ``second_moments.csv`` and a bar chart, ``second_moments.png``."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "second_moments.csv"
    with atomic_path(table) as partial, partial.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["layer", "before", "before_error", "after", "after_error"])
        for name in before:
            values = (before[name], after[name])
            writer.writerow([name, *(n for v in values for n in (v.value, v.standard_error))])

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    positions = np.arange(len(before))
    for shift, label, moments in ((-0.2, "before", before), (0.2, "after", after)):
        axes.bar(
            positions + shift,
            [moment.value for moment in moments.values()],
            0.4,
            label=label,
            yerr=[moment.standard_error for moment in moments.values()],
        )
    axes.axhline(1, color="grey", linewidth=1)
    axes.set_yscale("log")
    axes.set_xticks(positions, list(before), rotation=60, ha="right")
    axes.set_ylabel("second moment $E[X^2]$")
    axes.legend()
    with atomic_path(folder / "second_moments.png") as partial:
        figure.savefig(partial, dpi=120)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
examples:
  python tools/rebalance.py --weights build/data/vgg16_gray.caffemodel \\
      --lmdb build/data/train_lmdb --out build/data/vgg16_gray_balanced.caffemodel
  python tools/rebalance.py --net deploy.prototxt --keep-output --weights trained.caffemodel \\
      --lmdb build/data/train_lmdb --out balanced.caffemodel

The moments are estimated on images from all over the LMDB and checked on images that were not used,
by cross-validation: the images are dealt into folds, and the net that is balanced on all folds but
one runs on that one. Photos differ: the standard deviation of one's second moment is half its mean,
so that the average of 50 other photos may well be 0.1 from 1. Photos of another kind differ more: with
the weights of 302 training photos, 68 held-out ones of other origin had 0.59 (conv5_3) to 0.86.""",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        help="weights to re-balance, as convert_weights.py reads them",
    )
    parser.add_argument(
        "--net",
        type=Path,
        help="prototxt with the Input data (default: VGG-16-gray, conv1_1 to conv5_3)",
    )
    parser.add_argument("--lmdb", type=Path, required=True, help="training images")
    parser.add_argument(
        "--out", type=Path, required=True, help="weights to write, .caffemodel or .h5"
    )
    parser.add_argument(
        "--images",
        type=at_least(2),
        default=150,
        help="images to estimate on (default: %(default)s)",
    )
    parser.add_argument(
        "--folds",
        type=at_least(2),
        default=5,
        help="of the cross-validation, at least 2 (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the choice of images (default: %(default)s)"
    )
    parser.add_argument(
        "--keep-output",
        action="store_true",
        help="compensate the head's weights, so that the net's output stays as it "
        "is (default: leave the head out, for a fresh one)",
    )
    parser.add_argument("--report", type=Path, help="folder for the table and the plot")
    arguments = parser.parse_args(argv)
    keep_output = arguments.keep_output
    net = read_net(arguments.net) if arguments.net else vgg16_gray_features()
    fitting = transplant(read_weights(arguments.weights), net_shapes(net))
    if keep_output:
        fitting.check(arguments.weights)
    elif fitting.misshapen:  # a head may be missing
        raise WeightsError(f"{arguments.weights}: {'; '.join(fitting.misshapen)}")
    check_name(arguments.out)  # before the work, not after it
    weights = fitting.weights
    generator = np.random.default_rng(arguments.seed)
    datums = sample_datums(arguments.lmdb, arguments.images, generator)
    if len(datums) < 2:  # one to estimate on and one to check on
        raise WeightsError(f"{arguments.lmdb}: expected at least 2 images, got {len(datums)}")
    with tqdm(total=2 * len(datums), unit="image") as bar:

        def images(indices: Iterable[int]) -> Iterator[Float32Array]:
            for index in indices:
                yield lightness(decode_datum(datums[index]).astype(np.float32) / 255)
                bar.update()

        estimated = measure(net, weights, images(range(len(datums))), keep_output)
        before = estimated.second_moments()
        values = {name: moment.value for name, moment in before.items()}
        balanced = rebalance(net, weights, values, keep_output)
        after = cross_validate(
            net,
            weights,
            images,
            estimated,
            min(arguments.folds, len(datums)),
            generator,
            keep_output,
        ).second_moments()
    write_weights(arguments.out, balanced, f"{net.name} balanced")
    if arguments.report:
        write_report(arguments.report, before, after)
    print(f"{'layer':8} {'E[X^2]':>12} {'m':>10} {'E[X^2] after, unused images':>28}")
    for name, moment in before.items():
        check = f"{after[name].value:.3f} ± {after[name].standard_error:.3f}"
        print(f"{name:8} {moment.value:12.5g} {moment.value**-0.5:10.5g} {check:>28}")
    furthest = max(after, key=lambda name: abs(after[name].value - 1))
    print(
        f"estimated on {len(datums)} images; on images that were not used {furthest} is furthest "
        f"from 1, by {abs(after[furthest].value - 1):.3f}"
    )
    if fitting.unknown:
        print(f"not in the net, left out: {', '.join(fitting.unknown)}")
    return 0


if __name__ == "__main__":
    run_program(main)
