"""Train an edge detector on the layers, and score it on held-out photos.

Shows that the layers serve another task than colorization. It needs no labels but photos: the edges
are those of Canny's detector, which the network learns to mimic from the lightness.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_gradient_magnitude
from skimage.feature import canny
from tqdm import tqdm

from autocolor.core.arrays import Float32Array, FloatArray, check_unit
from autocolor.core.errors import InputError
from autocolor.core.files import (
    atomic_path,
    check_undamaged,
    exclusive,
    write_atomically,
    write_checksum,
)
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.data.lmdb_io import LmdbOptions, decode_datum, read_datums, read_resized
from autocolor.data.lmdb_writer import LmdbContent, is_complete, write_lmdb
from autocolor.evaluation.evaluate import spread
from autocolor.imaging.color import lightness
from autocolor.imaging.images import ImageError, find_photos
from autocolor.nets.catalogue import Model, all_models, write_files
from autocolor.nets.edges import EDGES_LMDB, LIGHTNESS_LMDB
from autocolor.nets.surgery import net_shapes, transplant
from autocolor.nets.weights_io import WeightsError, read_weights
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.training.caffe_train import run_caffe_train
from autocolor.training.log import plot_records, write_records

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
    """Label the pixels of (H, W) lightness in [0, 1] within 1 pixel, along y and x, of an edge."""
    check_unit("light", light)
    if light.ndim != 2:
        raise InputError("light", f"expected shape (H, W), got {light.shape}")
    edges = canny(light, CANNY_SIGMA, low_threshold=0.1, high_threshold=0.2)
    labels: BoolMap = binary_dilation(edges, np.ones((3, 3), dtype=bool))
    return labels


def gradient_magnitude(light: FloatArray) -> Float32Array:
    """Baseline: magnitude a pixel of the lightness's gradient, smoothed as Canny's detector does."""
    magnitude: Float32Array = gaussian_gradient_magnitude(light.astype(np.float32), CANNY_SIGMA)
    return magnitude


@dataclass(frozen=True)
class EdgeLmdbOptions(LmdbOptions):
    """Grey squares: the centre of each photo, whose smaller side is resized to `side`."""

    #: Equal here, so that all squares are of one size
    side: int = 128
    minimum_side: int = 128
    encoding: str = "png"
    #: {"lightness", "edges"}. The lightness in 0…255, or `edge_labels` as 0 and 255.
    content: str = "lightness"

    def prepare(self, path: Path, number: int = 0) -> Image.Image:
        """Read a photo as a grey 8-bit square."""
        photo = read_resized(path, self)
        left, top = (photo.width - self.side) // 2, (photo.height - self.side) // 2
        square = photo.crop((left, top, left + self.side, top + self.side))
        light = lightness(np.asarray(square, dtype=np.float32) / np.float32(255))
        shown = light if self.content == "lightness" else edge_labels(light)
        return Image.fromarray(np.rint(shown * np.float32(255)).astype(np.uint8))


def write_edge_lmdbs(photos: Sequence[Path], folder: Path, side: int) -> list[tuple[Path, str]]:
    """Write the LMDBs `LIGHTNESS_LMDB` and `EDGES_LMDB`, with the same keys in the same order.

    An LMDB of the same photos that is complete is left alone; another one is replaced. Squares have
    `side` pixels. Returns photos that were skipped now, and why.
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
        raise ImageError(f"{folder}: expected at least one photo that can be used: {reasons}")
    return list(skipped.items())


class Square(NamedTuple):
    """A record of the two LMDBs: (H, W) float32 in [0, 1], and its (H, W) bool labels."""

    light: Float32Array
    labels: BoolMap


def read_squares(folder: Path) -> Iterator[Square]:
    """Yield the records of the two LMDBs of `write_edge_lmdbs`."""
    pair = (read_datums(folder / name) for name in (LIGHTNESS_LMDB, EDGES_LMDB))
    for (key, light), (other, labels) in zip(*pair, strict=True):
        if key != other:
            raise ImageError(f"{folder}: expected equal keys, got {key!r} and {other!r}")
        yield Square(
            decode_datum(light)[..., 0] * np.float32(1 / 255), decode_datum(labels)[..., 0] > 127
        )


def predict_edges(
    deploy: Path, weights: Path, lights: Sequence[Float32Array]
) -> list[Float32Array]:
    """Return the deploy net's probability of an edge at every pixel, (H, W) as each lightness."""
    caffe = import_caffe()
    net = caffe.Net(str(deploy), caffe.TEST, weights=str(weights))
    probabilities = []
    for light in tqdm(lights, desc="predicting", unit="photo"):
        net.blobs["data"].reshape(1, 1, *light.shape)
        net.blobs["data"].data[0, 0] = light
        net.forward()
        probabilities.append(net.blobs["probability"].data[0, 1].copy())
    return probabilities


def prepare(photos: Path, folder: Path, side: int) -> None:
    """Write the LMDBs of a folder of photos, and ``skipped.tsv`` if any had to be skipped."""
    paths = find_photos(photos, recursive=True)
    # Neighbours in an LMDB share a batch, so they should not share an origin.
    shuffled = [paths[index] for index in np.random.default_rng(0).permutation(len(paths))]
    if not shuffled:
        raise ImageError(f"{photos}: expected a folder with photos, found none")
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
    if stamp.is_file() and stamp.read_text() != inputs.hexdigest():
        raise WeightsError(
            f"{out}: holds a training on other photos, weights or options; remove it, or choose another "
            "--out"
        )
    if stamp.is_file() and caffemodel.is_file():
        check_undamaged(caffemodel, WeightsError)
        print(f"{caffemodel}: trained already")
        return caffemodel
    write_files(out, files)
    records = run_caffe_train(
        out / "solver.prototxt", out / "caffe.log", iterations=iterations, weights=weights
    )
    write_records(records, out / "losses.csv")
    plot_records(records, out / "losses.png")
    write_checksum(caffemodel)
    with atomic_path(stamp) as partial:
        partial.write_text(inputs.hexdigest())
    return caffemodel


def loss_quarters(path: Path) -> tuple[float, float]:
    """Mean training loss of the first and of the last quarter of the iterations."""
    with path.open(encoding="utf-8", newline="") as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream) if row["phase"] == "train"]
    quarter = max(1, len(losses) // 4)
    return float(np.mean(losses[:quarter])), float(np.mean(losses[-quarter:]))


def draw_examples(squares: Sequence[Square], predicted: Sequence[Float32Array], path: Path) -> None:
    """Float32Array of up to six held-out photos: grey, predicted and true edges."""
    from matplotlib.figure import Figure

    shown = spread(len(squares), 6)
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
    parser = command_parser(
        __doc__,
        """\
example, on the demo's photos and weights:
  export GLOG_minloglevel=2   # Caffe's own log goes to OUT/caffe.log
  python tools/train_edges.py --photos build/data/photos/train --test-photos build/data/photos/test

Writes the LMDBs, the prototxt files, losses.png, examples.png (grey | predicted | truth) and
metrics.json into OUT. The score is the average precision over all pixels of the held-out photos,
beside that of a constant (the share of edge pixels) and of the lightness's gradient. Photos that
cannot be read are skipped and listed. Run again: what is finished is not done again.""",
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
        type=at_least(16),
        default=model.training.crop,
        help="of the squares that the photos are cut to (default: %(default)s)",
    )
    parser.add_argument(
        "--iterations",
        type=at_least(1),
        default=model.solver.iterations,
        help="default: %(default)s",
    )
    arguments = parser.parse_args(argv)
    from sklearn.metrics import average_precision_score  # takes a second, --help need not

    out: Path = arguments.out
    with exclusive(out / ".lock"):
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
        labels = np.ravel([square.labels for square in squares])
        gradient = np.ravel([gradient_magnitude(square.light) for square in squares])
        first, last = loss_quarters(out / "losses.csv")
        metrics = {
            "average_precision": {
                "model": average_precision_score(labels, np.ravel(predicted)),
                "gradient": average_precision_score(labels, gradient),
                "constant": average_precision_score(labels, np.zeros(labels.shape)),
            },
            "training_loss": {"first_quarter": first, "last_quarter": last},
            "held_out_photos": len(squares),
            "iterations": arguments.iterations,
        }
        write_atomically(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
        draw_examples(squares, predicted, out / "examples.png")
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
