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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import lmdb
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_gradient_magnitude
from skimage.feature import canny
from tqdm import tqdm

from autocolor.core.arrays import FloatArray, check_unit
from autocolor.core.errors import AutocolorError
from autocolor.core.files import atomic_path
from autocolor.core.programs import run_program
from autocolor.data.lmdb_io import LmdbOptions, decode_datum, read_datums, read_resized
from autocolor.data.lmdb_writer import LmdbContent, is_complete, write_lmdb
from autocolor.imaging.color import lightness
from autocolor.imaging.images import find_photos
from autocolor.nets.catalogue import Model, all_models, write_files
from autocolor.nets.edges import EDGES_LMDB, LIGHTNESS_LMDB
from autocolor.nets.surgery import net_shapes, transplant
from autocolor.nets.weights_io import WeightsError, read_weights
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.training.caffe_train import (
    Record,
    plot_records,
    run_caffe_train,
    write_records,
)

FloatMap = npt.NDArray[np.float32]
BoolMap = npt.NDArray[np.bool_]

# A pixel's label is 1 within 1 pixel of an edge that Canny's detector finds in the lightness, 0
# elsewhere; the input is the lightness. The labels cost nothing, and there is a strong baseline: the
# gradient's magnitude at the same sigma, which is where Canny's detector starts. What is left to
# learn are its thinning and its linking of weak edges to strong ones. Edges of the colour channels a
# and b, tried first, are less of a proof: a head trained on them scored 0.44 against 0.39 (average
# precision).
CANNY_SIGMA = 2.0
"""Standard deviation, in pixels, of the Gaussian that Canny's detector smooths with."""


def edge_labels(light: FloatArray) -> BoolMap:
    """Label the pixels within 1 pixel, along y and x, of an edge.

    Parameters
    ----------
    light : (H, W) float array in [0, 1]
        Lightness.

    Returns
    -------
    (H, W) bool array

    Raises
    ------
    ValueError
        If `light` is no such array.
    """
    check_unit("light", light)
    if light.ndim != 2:
        raise ValueError(f"light: expected shape (H, W), received {light.shape}")
    edges = canny(light, CANNY_SIGMA, low_threshold=0.1, high_threshold=0.2)
    labels: BoolMap = binary_dilation(edges, np.ones((3, 3), dtype=bool))
    return labels


def gradient_magnitude(light: FloatArray) -> FloatMap:
    """Baseline: magnitude of the lightness's gradient, smoothed as Canny's detector does.

    Parameters
    ----------
    light : (H, W) float array in [0, 1]

    Returns
    -------
    (H, W) float32 array, at least 0, per pixel
    """
    magnitude: FloatMap = gaussian_gradient_magnitude(light.astype(np.float32), CANNY_SIGMA)
    return magnitude


@dataclass(frozen=True)
class EdgeLmdbOptions(LmdbOptions):
    """Grey squares: the centre of each photo, whose smaller side is resized to `side`.

    Attributes
    ----------
    side, minimum_side : int
        Equal here, so that all squares are of one size.
    content : {"lightness", "edges"}
        The lightness in 0…255, or `edge_labels` as 0 and 255.
    """

    side: int = 128
    minimum_side: int = 128
    encoding: str = "png"
    content: str = "lightness"

    def prepare(self, path: Path, number: int = 0) -> Image.Image:
        """Read a photo as a grey 8-bit square.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        photo = read_resized(path, self)
        left, top = (photo.width - self.side) // 2, (photo.height - self.side) // 2
        square = photo.crop((left, top, left + self.side, top + self.side))
        light = lightness(np.asarray(square, dtype=np.float32) / np.float32(255))
        shown = light if self.content == "lightness" else edge_labels(light)
        return Image.fromarray(np.rint(shown * np.float32(255)).astype(np.uint8))


def write_edge_lmdbs(photos: Sequence[Path], folder: Path, side: int) -> list[tuple[Path, str]]:
    """Write the LMDBs `LIGHTNESS_LMDB` and `EDGES_LMDB`, with the same keys in the same order.

    An LMDB of the same photos that is complete is left alone; another one is replaced.

    Parameters
    ----------
    photos : sequence of Path
    folder : Path
        Where the two go; made if need be.
    side : int
        Of the squares, in pixels.

    Returns
    -------
    list of (Path, str)
        Photos that were skipped now, and why.

    Raises
    ------
    ValueError
        If no photo could be used.
    """
    skipped: dict[Path, str] = {}
    for name, what in ((LIGHTNESS_LMDB, "lightness"), (EDGES_LMDB, "edges")):
        options = EdgeLmdbOptions(side, side, content=what)
        content = LmdbContent(photos, options)
        if not is_complete(folder / name, content):
            with tqdm(total=len(photos), desc=f"{folder.name}/{name}", unit="photo") as bar:
                skipped |= dict(write_lmdb(content, folder / name, bar.update))
    if not any(True for _ in read_squares(folder)):
        reasons = "; ".join(skipped.values()) or "none was given"
        raise ValueError(f"{folder}: expected at least one photo that can be used: {reasons}")
    return list(skipped.items())


class Square(NamedTuple):
    """A record of the two LMDBs: (H, W) float32 in [0, 1], and its (H, W) bool labels."""

    light: FloatMap
    labels: BoolMap


def read_squares(folder: Path) -> Iterator[Square]:
    """Yield the records of the two LMDBs of `write_edge_lmdbs`.

    Raises
    ------
    ValueError
        If their keys differ.
    """
    pair = (read_datums(folder / name) for name in (LIGHTNESS_LMDB, EDGES_LMDB))
    for (key, light), (other, labels) in zip(*pair, strict=True):
        if key != other:
            raise ValueError(f"{folder}: expected equal keys, received {key!r} and {other!r}")
        yield Square(
            decode_datum(light)[..., 0] * np.float32(1 / 255), decode_datum(labels)[..., 0] > 127
        )


def predict_edges(deploy: Path, weights: Path, lights: Sequence[FloatMap]) -> list[FloatMap]:
    """Run the deploy net.

    Parameters
    ----------
    deploy, weights : Path
        Prototxt and caffemodel.
    lights : sequence of (H, W) float32 arrays in [0, 1]

    Returns
    -------
    list of (H, W) float32 arrays in [0, 1]
        Probability of an edge at every pixel.
    """
    caffe = import_caffe()
    net = caffe.Net(str(deploy), caffe.TEST, weights=str(weights))
    probabilities = []
    for light in tqdm(lights, desc="predicting", unit="photo"):
        net.blobs["data"].reshape(1, 1, *light.shape)
        net.blobs["data"].data[0, 0] = light
        net.forward()
        probabilities.append(net.blobs["probability"].data[0, 1].copy())
    return probabilities


def average_precision(scores: FloatArray, labels: BoolMap) -> float:
    """Area under the steps of precision over recall, pixels of one score taken together.

    Parameters
    ----------
    scores : float array
        Higher is more likely an edge; any range.
    labels : bool array of the same shape

    Returns
    -------
    float
        In [0, 1]; of a constant score, the share of true labels.

    Raises
    ------
    ValueError
        If the shapes differ or no label is true.
    """
    if scores.shape != labels.shape or not labels.any():
        raise ValueError(
            f"labels: expected shape {scores.shape} and a true one, received {labels.shape} "
            f"with {np.count_nonzero(labels)} true"
        )
    order = np.argsort(-scores, axis=None, kind="stable")
    ranked = scores.ravel()[order]
    last_of_score = np.append(np.flatnonzero(np.diff(ranked)), ranked.size - 1)
    found = np.cumsum(labels.ravel()[order])[last_of_score]
    precision = found / (last_of_score + 1)
    return float(np.sum(precision * np.diff(found, prepend=0)) / found[-1])


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
    parser.add_argument(
        "--photos",
        type=Path,
        required=True,
        help="folder to train on, searched with its subfolders",
    )
    parser.add_argument("--test-photos", type=Path, required=True, help="folder of held-out photos")
    parser.add_argument(
        "--weights",
        type=Path,
        default=Path("build/data/vgg16_gray_balanced.caffemodel"),
        help="VGG-16-gray of tools/convert_vgg16.py, re-balanced by "
        "tools/rebalance.py (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/edges"),
        help="folder for the results (default: %(default)s)",
    )
    parser.add_argument(
        "--side",
        type=int,
        default=model.training.crop,
        help="of the squares that the photos are cut to (default: %(default)s)",
    )
    parser.add_argument(
        "--iterations", type=int, default=model.solver.iterations, help="default: %(default)s"
    )
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
    except (AutocolorError, ValueError, OSError, lmdb.Error) as error:
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
    run_program(main)
