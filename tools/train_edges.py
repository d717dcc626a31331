"""Train an edge detector on the layers, and score it on held-out photos.

Shows that the layers serve another task than colorization. It needs no labels but photos: the edges
are those of Canny's detector, which the network learns to mimic from the lightness.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
from tqdm import tqdm

from autocolor.caffe_runtime import CaffeError
from autocolor.edges import (
    FloatMap,
    Square,
    average_precision,
    gradient_magnitude,
    predict_edges,
    read_squares,
    write_edge_lmdbs,
)
from autocolor.files import atomic_path
from autocolor.images import find_photos
from autocolor.models import Model, all_models, write_files
from autocolor.surgery import net_shapes, transplant
from autocolor.training import (
    Record,
    TrainingError,
    plot_records,
    run_caffe_train,
    write_records,
)
from autocolor.weights_io import WeightsError, read_weights


def prepare(photos: Path, folder: Path, side: int) -> None:
    """Write the LMDBs of a folder of photos, and ``skipped.tsv`` if any had to be skipped.

    Raises
    ------
    ValueError
        If there is no usable photo.
    """
    paths = find_photos(photos, recursive=True)
    # Neighbours in an LMDB share a batch, so they should not share an origin.
    shuffled = [paths[index] for index in np.random.default_rng(0).permutation(len(paths))]
    if not shuffled:
        raise ValueError(f"{photos}: expected a folder with photos, found none")
    skipped = write_edge_lmdbs(shuffled, folder, side)
    if skipped:
        report = folder / "skipped.tsv"
        report.write_text("".join(f"{path}\t{reason}\n" for path, reason in skipped))
        print(f"{folder}: {len(skipped)} photos skipped (see {report})")


def train(out: Path, model: Model, iterations: int, weights: Path) -> Path:
    """Run ``caffe train``, unless `out` holds its result already; returns the caffemodel."""
    fitting = transplant(read_weights(weights), net_shapes(model.network.deploy_net()))
    missing = [f"{name} is missing" for name in fitting.missing if name.startswith("conv")]
    if problems := [*fitting.misshapen, *missing]:
        raise WeightsError(f"{weights}: {'; '.join(problems)}")
    held_out = sum(1 for _ in read_squares(out / "test"))
    solver = replace(
        model.solver,
        iterations=iterations,
        test_iterations=max(1, held_out // model.training.batch),
        test_interval=max(1, iterations // 4),
        snapshot_interval=0,  # the last one is always written
        display_interval=1,
    )
    files = replace(model, solver=solver).files()
    inputs = hashlib.sha256("".join(files.values()).encode() + weights.read_bytes())
    for manifest in sorted(out.glob("t*/*_lmdb/*.json")):
        inputs.update(manifest.read_bytes())
    stamp, caffemodel = out / "trained.sha256", out / f"snapshot_iter_{iterations}.caffemodel"
    if caffemodel.is_file() and stamp.is_file() and stamp.read_text() == inputs.hexdigest():
        print(f"{caffemodel}: trained already")
        return caffemodel
    write_files(out, files)
    with tqdm(total=iterations, unit="iteration", desc="caffe train") as bar:

        def show(record: Record) -> None:
            bar.update(record.iteration - bar.n)
            bar.set_postfix({f"{record.phase} loss": f"{record.loss:.3f}"})

        records = run_caffe_train(out / "solver.prototxt", out / "caffe.log", show, weights=weights)
    write_records(records, out / "losses.csv")
    plot_records(records, out / "losses.png")
    stamp.write_text(inputs.hexdigest())
    return caffemodel


def loss_quarters(path: Path) -> tuple[float, float]:
    """Mean training loss of the first and of the last quarter of the iterations."""
    with path.open(encoding="utf-8", newline="") as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream) if row["phase"] == "train"]
    quarter = max(1, len(losses) // 4)
    return float(np.mean(losses[:quarter])), float(np.mean(losses[-quarter:]))


def draw_examples(squares: Sequence[Square], predicted: Sequence[FloatMap], path: Path) -> None:
    """Picture of up to six held-out photos: grey, predicted and true edges."""
    from matplotlib.figure import Figure

    shown = np.unique(np.linspace(0, len(squares) - 1, 6).round().astype(int))
    figure = Figure(figsize=(6, 2 * len(shown) + 0.3), layout="constrained")
    axes = figure.subplots(len(shown), 3, squeeze=False)
    for row, index in zip(axes, shown, strict=True):
        images = (squares[index].light, predicted[index], squares[index].labels)
        for cell, image in zip(row, images, strict=True):
            cell.imshow(image, cmap="gray", vmin=0, vmax=1)
            cell.set_axis_off()
    for cell, title in zip(
        axes[0], ("grey input", "predicted edges", "Canny's edges"), strict=True
    ):
        cell.set_title(title)
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="""\
example, on the demo's photos and weights:
  export GLOG_minloglevel=2   # Caffe's own log goes to OUT/caffe.log
  python tools/train_edges.py --photos build/data/photos/train --test-photos build/data/photos/test

Writes the LMDBs, the prototxt files, losses.png, examples.png (grey | predicted | truth) and
metrics.json into OUT. The score is the average precision over all pixels of the held-out photos,
beside that of a constant (the share of edge pixels) and of the lightness's gradient. Photos that
cannot be read are skipped and listed. Run again: what is finished is not done again.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model = all_models()["edges_data-conv3_3"]
    parser.add_argument("--photos", type=Path, required=True,
                        help="folder to train on, searched with its subfolders")  # fmt: skip
    parser.add_argument("--test-photos", type=Path, required=True,
                        help="folder of held-out photos")  # fmt: skip
    parser.add_argument("--weights", type=Path,
                        default=Path("build/data/vgg16_gray_balanced.caffemodel"),
                        help="VGG-16-gray of tools/convert_vgg16.py, re-balanced by "
                        "tools/rebalance.py (default: %(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("build/edges"),
                        help="folder for the results (default: %(default)s)")  # fmt: skip
    parser.add_argument("--side", type=int, default=model.training.crop,
                        help="of the squares that the photos are cut to (default: %(default)s)")  # fmt: skip
    parser.add_argument("--iterations", type=int, default=model.solver.iterations,
                        help="default: %(default)s")  # fmt: skip
    arguments = parser.parse_args(argv)
    for name, least in (("side", 16), ("iterations", 1)):
        if getattr(arguments, name) < least:
            parser.error(f"--{name}: expected at least {least}")
    out: Path = arguments.out
    try:
        prepare(arguments.photos, out / "train", arguments.side)
        prepare(arguments.test_photos, out / "test", arguments.side)
        model = replace(
            model.in_folder(out),
            training=replace(model.training, source=str(out / "train"), crop=arguments.side),
            validation_source=str(out / "test"),
        )
        caffemodel = train(out, model, arguments.iterations, arguments.weights)
        squares = list(read_squares(out / "test"))
        predicted = predict_edges(
            out / "deploy.prototxt", caffemodel, [square.light for square in squares]
        )
        labels = np.stack([square.labels for square in squares])
        gradient = np.stack([gradient_magnitude(square.light) for square in squares])
        first, last = loss_quarters(out / "losses.csv")
        metrics = {
            "average_precision": {
                "model": average_precision(np.stack(predicted), labels),
                "gradient": average_precision(gradient, labels),
                "constant": average_precision(np.zeros(labels.shape), labels),
            },
            "training_loss": {"first_quarter": first, "last_quarter": last},
            "held_out_photos": len(squares),
            "iterations": arguments.iterations,
        }
        with atomic_path(out / "metrics.json") as partial:
            partial.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        draw_examples(squares, predicted, out / "examples.png")
    except (CaffeError, TrainingError, WeightsError, ValueError, OSError, lmdb.Error) as error:
        print(f"train_edges: error: {error}", file=sys.stderr)
        return 1
    scores = metrics["average_precision"]
    print(
        f"average precision {scores['model']:.3f} against {scores['gradient']:.3f} of the gradient "
        f"and {scores['constant']:.3f} of a constant, on {len(squares)} held-out photos; "
        f"training loss {first:.3f} -> {last:.3f} (first and last quarter of "
        f"{arguments.iterations} iterations)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
