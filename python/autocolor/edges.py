"""Edges, a per-pixel task for the layers that is not colorization.

A pixel's label is 1 within 1 pixel of an edge that Canny's detector (sigma 2) finds in the lightness,
0 elsewhere; the input is the lightness. The labels cost nothing, and there is a strong baseline: the
gradient's magnitude at the same sigma, which is where Canny's detector starts. What is left to learn
are its thinning and its linking of weak edges to strong ones. Edges of the colour channels a and b,
tried first, are less of a proof: a head trained on them scored 0.44 against 0.39 (average precision).

Needs pycaffe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_gradient_magnitude
from skimage.feature import canny
from tqdm import tqdm

from autocolor.caffe_runtime import import_caffe
from autocolor.checks import FloatArray, check_unit
from autocolor.color import lightness
from autocolor.edge_networks import EDGES_LMDB, LIGHTNESS_LMDB
from autocolor.lmdb_io import LmdbOptions, decode_datum, read_datums, read_resized
from autocolor.lmdb_writer import LmdbContent, is_complete, write_lmdb

FloatMap = npt.NDArray[np.float32]
BoolMap = npt.NDArray[np.bool_]

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

    def prepare(self, path: Path) -> Image.Image:
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
