"""Regression of colour on fixed features of three scales, trained by Caffe.

A net with three hidden layers is trained for the squared error of U and V at single pixels, from a patch
of lightness, a DAISY descriptor and a semantic feature; a joint bilateral filter follows. Photos are
clustered by how they look as a whole, and each cluster has a net of its own. Cheng et al. take the
posterior of a scene parser's 47 categories for the semantic feature. No such parser can be had here: its
place is taken by the 47 principal components of VGG-16's conv5_3.

References
----------
Cheng, Yang, Sheng: Deep colorization. ICCV 2015.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import scipy
import skimage
from numpy.lib.stride_tricks import sliding_window_view

from autocolor.baselines.descriptors import (
    FeatureExtractor,
    Fitted,
    Projection,
    cell_means,
    principal_components,
)
from autocolor.baselines.references import References, working_image
from autocolor.baselines.welsh import Gist
from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.core.errors import InputError
from autocolor.imaging.color import correct_lightness, lightness
from autocolor.imaging.joint_bilateral import joint_bilateral_upsample
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.training.caffe_train import best_snapshot, run_caffe_train
from autocolor.training.log import Record

SCALING = "scaling.npz"
"""File of :class:`ChengScaling`, written last."""

SEMANTIC_LEVEL = "conv5_3"
SEMANTIC_SIZE = 47
PATCH = 7
DAISY_SIZE = 32
FEATURES = PATCH**2 + DAISY_SIZE + SEMANTIC_SIZE
"""Inputs of the net, 128."""

HIDDEN_LAYERS = 3
HIDDEN_UNITS = FEATURES // 2

_DAISY_RADIUS = 15
_FIT_PHOTOS = 64
_VALIDATION_SHARE = 0.1  # of the photos
# Of the filter of U and V, in pixels at the working size and in units of lightness.
_FILTER_SPACE = 4.0
_FILTER_RANGE = 0.1
_FILTER_RADIUS = 8


@dataclass(frozen=True)
class ChengOptions:
    """How the net is trained."""

    pixels: int = 512  #: Drawn from each photo
    iterations: int = 6000
    batch: int = 256
    learning_rate: float = 0.01
    weight_decay: float = 5e-4
    tests: int = 12  #: Validations during the training; the snapshot that validates best is kept
    #: A net for as many photos, which share the iterations; one for all where there are fewer than
    #: twice as many
    cluster: int = 64


@dataclass(frozen=True)
class ChengScaling(Fitted):
    """What turns features and colours into the net's units."""

    #: (128,) float32 arrays. The net reads (feature - mean) / scale.
    feature_mean: Float32Array
    feature_scale: Float32Array
    #: (2,) float32 arrays. The net gives (U or V - mean) / scale.
    chroma_mean: Float32Array
    chroma_scale: Float32Array
    #: (clusters, 512) float32 array, what their photos' gists are near
    centers: Float32Array


def patches(light: FloatArray) -> Float32Array:
    """Return the 7 x 7 patch around each pixel of (H, W), row by row, mirrored at the border."""
    padded = np.pad(light, PATCH // 2, mode="symmetric")
    windows = sliding_window_view(padded, (PATCH, PATCH))
    return windows.reshape(*light.shape, PATCH**2).astype(np.float32, copy=False)


def daisy_descriptors(light: FloatArray) -> Float32Array:
    """Return the DAISY descriptor (32) of each pixel of (H, W): centre and 3 places around it."""
    padded = np.pad(light.astype(np.float64), _DAISY_RADIUS, mode="symmetric")
    described = skimage.feature.daisy(
        padded, step=1, radius=_DAISY_RADIUS, rings=1, histograms=3, orientations=8
    )
    return np.asarray(described, dtype=np.float32)


def pixel_features(light: FloatArray, semantic: FloatArray) -> Float32Array:
    """Return the features (H, W, 128) of each pixel of (H, W) lightness: patch, DAISY, semantic.

    The semantic feature, (h, w, 47) on the grid of conv5_3, is enlarged along the edges.
    """
    grid_guide = cell_means(light[..., None], semantic.shape[:2])[..., 0]
    smooth = joint_bilateral_upsample(semantic, grid_guide, light, radius=1)
    return np.concatenate([patches(light), daisy_descriptors(light), smooth], axis=-1)


def chroma(rgb: FloatArray) -> Float32Array:
    """Return U and V (..., 2) of RGB in [0, 1]."""
    return np.asarray(skimage.color.rgb2yuv(rgb)[..., 1:], dtype=np.float32)


def compose_chroma(uv: FloatArray, light: FloatArray) -> Float32Array:
    """Return the RGB image of U and V that has exactly the given lightness.

    Y adds the same to R, G and B, so the lightness fixes it.
    """
    yuv = np.concatenate([np.zeros_like(uv[..., :1]), uv], axis=-1)
    return correct_lightness(skimage.color.yuv2rgb(yuv).astype(np.float32), light)


def train_cheng(
    references: References,
    backbone: FeatureExtractor,
    folder: Path,
    rng: np.random.Generator,
    options: ChengOptions | None = None,
    *,
    progress: bool = False,
) -> list[Record]:
    """Train a net for each cluster with ``caffe train``; leaves net, weights and scaling in `folder`.

    A tenth of a cluster's photos, at least one, validates: they give no pixel to the training.

    Parameters
    ----------
    backbone : FeatureExtractor
        With conv5_3.
    folder : Path
        Made if need be.
    rng : numpy.random.Generator
        Draws pixels, photos and Caffe's seed.

    Returns
    -------
    list of Record
        What Caffe reported, of one net after the other.

    Raises
    ------
    InputError
        If fewer than two references can be read.
    autocolor.training.caffe_train.TrainingError
        If Caffe fails.
    """
    options = options or ChengOptions()
    folder.mkdir(parents=True, exist_ok=True)
    projection = principal_components(_semantic(references, backbone, progress), SEMANTIC_SIZE)
    gist = Gist()
    inputs, targets, gists = [], [], []
    for _, rgb in references.images(progress, "features of references"):
        light = lightness(rgb)
        features = pixel_features(light, _project(backbone, light, projection))
        chosen = rng.integers(0, light.size, options.pixels)
        inputs.append(features.reshape(-1, FEATURES)[chosen])
        targets.append(chroma(rgb).reshape(-1, 2)[chosen])
        gists.append(gist(light))
    if len(inputs) < 2:
        raise InputError("references", "expected at least two colour photos, got one")
    centers, clusters = cluster_photos(np.stack(gists), options.cluster, rng)
    x, y = np.concatenate(inputs), np.concatenate(targets)
    scaling = ChengScaling(
        projection, x.mean(axis=0), _scale(x), y.mean(axis=0), _scale(y), centers
    )
    options = replace(options, iterations=max(options.tests, options.iterations // len(clusters)))
    records: list[Record] = []
    for number, cluster in enumerate(clusters):
        order = rng.permutation(cluster)
        count = max(1, round(_VALIDATION_SHARE * len(order)))
        with tempfile.TemporaryDirectory(dir=folder) as name:
            work = Path(name)
            rows = {}
            for part, photos in (("train", order[count:]), ("validation", order[:count])):
                x, y = (np.concatenate([all_[i] for i in photos]) for all_ in (inputs, targets))
                shuffled = rng.permutation(len(x)) if part == "train" else slice(None)
                rows[part] = _write_data(work / part, x[shuffled], y[shuffled], scaling)
            solver = _write_solver(work, rows["validation"], int(rng.integers(1, 2**31)), options)
            found = run_caffe_train(
                solver, work / "caffe.log", iterations=options.iterations if progress else None
            )
            best_snapshot(work, found).replace(folder / _weights(number))
            records += found
    (folder / "deploy.prototxt").write_text(str(_net(None, 1)), encoding="utf-8")
    scaling.save(folder / SCALING)
    return records


def cluster_photos(
    gists: FloatArray, size: int, rng: np.random.Generator
) -> tuple[Float32Array, list[npt.NDArray[np.intp]]]:
    """Cluster photos by k-means of their gists, (n, D), into clusters of about `size`.

    Clusters of one photo, which could not train and validate, are dissolved into the others.

    Returns
    -------
    centers : (k, D) float32 array
    clusters : list of k arrays
        Indices of their photos, at least two each.
    """
    values = gists.astype(np.float64)
    centers, count = values.mean(axis=0, keepdims=True), len(values) // size
    if count > 1:
        centers, _ = scipy.cluster.vq.kmeans2(values, count, minit="++", rng=rng)
    labels, _ = scipy.cluster.vq.vq(values, centers)
    while len(centers) > 1 and (sizes := np.bincount(labels, minlength=len(centers))).min() < 2:
        centers = np.delete(centers, sizes.argmin(), axis=0)
        labels, _ = scipy.cluster.vq.vq(values, centers)
    clusters = [np.flatnonzero(labels == number) for number in range(len(centers))]
    return centers.astype(np.float32), clusters


def _weights(cluster: int) -> str:
    return f"cheng_{cluster}.caffemodel"


def _scale(values: FloatArray) -> Float32Array:
    deviation = values.std(axis=0)
    return np.where(deviation > 0, deviation, 1).astype(np.float32)


def _project(backbone: FeatureExtractor, light: FloatArray, projection: Projection) -> Float32Array:
    return projection(np.moveaxis(backbone.features(light)[SEMANTIC_LEVEL], 0, -1))


def _semantic(
    references: References, backbone: FeatureExtractor, progress: bool
) -> Iterator[Float32Array]:
    for _, rgb in references.spread(_FIT_PHOTOS).images(progress, "fitting semantic features"):
        level = backbone.features(lightness(rgb))[SEMANTIC_LEVEL]
        yield level.reshape(len(level), -1).T


def _write_data(path: Path, x: FloatArray, y: FloatArray, scaling: ChengScaling) -> int:
    """Write rows for HDF5Data, and the list that names the file; returns their number."""
    data = path.with_suffix(".h5")
    with h5py.File(data, "w") as file:
        file["features"] = (x - scaling.feature_mean) / scaling.feature_scale
        file["target"] = (y - scaling.chroma_mean) / scaling.chroma_scale
    path.with_suffix(".txt").write_text(f"{data}\n", encoding="utf-8")
    return len(x)


def _net(source: Path | None, batch: int) -> Any:
    """Return the net that reads `source` and has a loss, or without one the deploy net."""
    import_caffe()
    from caffe import NetSpec
    from caffe import layers as L

    from autocolor.nets.vgg16 import fillers, param_multipliers

    net = NetSpec()
    if source is None:
        net.features = L.Input(shape={"dim": [batch, FEATURES]})
    else:
        net.features, net.target = L.HDF5Data(source=str(source), batch_size=batch, ntop=2)
    top = net.features
    for index in range(1, HIDDEN_LAYERS + 1):
        top = L.InnerProduct(top, num_output=HIDDEN_UNITS, param=param_multipliers(), **fillers())
        net[f"hidden{index}"] = top
        net[f"relu{index}"] = top = L.ReLU(top, in_place=True)
    net.chroma = L.InnerProduct(top, num_output=2, param=param_multipliers(), **fillers())
    if source is not None:
        net.loss = L.EuclideanLoss(net.chroma, net.target)
    return net.to_proto()


def _write_solver(work: Path, rows: int, seed: int, options: ChengOptions) -> Path:
    import_caffe()
    from autocolor.nets.solver import SolverOptions, solver

    batch = min(options.batch, rows)
    (work / "train.prototxt").write_text(str(_net(work / "train.txt", batch)), encoding="utf-8")
    (work / "test.prototxt").write_text(str(_net(work / "validation.txt", batch)), encoding="utf-8")
    interval = max(1, options.iterations // options.tests)
    message = solver(
        SolverOptions(
            train_net=str(work / "train.prototxt"),
            test_net=str(work / "test.prototxt"),
            snapshot_prefix=str(work / "snapshot"),
            iterations=options.iterations,
            base_learning_rate=options.learning_rate,
            weight_decay=options.weight_decay,
            test_iterations=max(1, rows // batch),
            test_interval=interval,
            snapshot_interval=interval,
            display_interval=max(1, min(100, interval)),
            seed=seed,
        )
    )
    path = work / "solver.prototxt"
    path.write_text(str(message), encoding="utf-8")
    return path


class Cheng:
    """Colorizes photos with a net that :func:`train_cheng` has left in a folder, and its backbone."""

    def __init__(self, folder: Path, backbone: FeatureExtractor) -> None:
        caffe = import_caffe()
        self._scaling = ChengScaling.load(folder / SCALING)
        self._gist = Gist()
        self._nets = []
        for number in range(len(self._scaling.centers)):
            net = caffe.Net(str(folder / "deploy.prototxt"), caffe.TEST)
            net.copy_from(str(folder / _weights(number)))
            self._nets.append(net)
        self._backbone = backbone

    def __call__(self, lightness: FloatArray) -> Float32Array:
        """Return (H, W, 3) RGB of the given (H, W) lightness in [0, 1]."""
        light = lightness.astype(np.float32, copy=False)
        small = working_image(light)
        filtered = joint_bilateral_upsample(
            self.predict(small),
            small,
            small,
            sigma_space=_FILTER_SPACE,
            sigma_range=_FILTER_RANGE,
            radius=_FILTER_RADIUS,
        )
        if light.shape != small.shape:
            filtered = joint_bilateral_upsample(filtered, small, light, radius=1)
        return compose_chroma(filtered, light)

    def predict(self, small: FloatArray) -> Float32Array:
        """Return U and V (h, w, 2) of a photo at its working size, before the filter."""
        scaling = self._scaling
        features = pixel_features(small, _project(self._backbone, small, scaling.projection))
        rows = (features.reshape(-1, FEATURES) - scaling.feature_mean) / scaling.feature_scale
        (cluster,), _ = scipy.cluster.vq.vq(self._gist(small)[None], scaling.centers)
        net = self._nets[cluster]
        blob = net.blobs["features"]
        blob.reshape(*rows.shape)
        blob.data[...] = rows
        net.forward()
        predicted = net.blobs["chroma"].data * scaling.chroma_scale + scaling.chroma_mean
        return np.asarray(predicted.reshape(*small.shape, 2), dtype=np.float32)
