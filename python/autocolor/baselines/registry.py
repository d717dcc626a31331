"""The methods that the paper compares itself with (section 4), by name.

Automatic ones learn from colour photos, the references, and colorize a lightness; those of Table 4
recolour an automatic result by the true colours' histogram. docs/baselines.md says what each takes
from which paper.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autocolor.baselines.charpiat import Charpiat
from autocolor.baselines.cheng import (
    SCALING,
    SEMANTIC_LEVEL,
    Cheng,
    ChengOptions,
    train_cheng,
)
from autocolor.baselines.cluster_correspondence import transfer_clusters
from autocolor.baselines.descriptors import FeatureExtractor
from autocolor.baselines.deshpande.colorizer import (
    Deshpande,
    DeshpandeOptions,
    SceneClasses,
    Solution,
)
from autocolor.baselines.nearest_neighbour import NearestNeighbour, ReferenceBank, build_bank
from autocolor.baselines.references import References
from autocolor.baselines.welsh import Welsh
from autocolor.control.quantile import transfer_quantiles
from autocolor.core.arrays import FloatArray, check_unit
from autocolor.core.errors import InputError
from autocolor.core.files import file_sha256
from autocolor.evaluation.evaluate import Method, Scene, SceneMethod, grey_image, lightness_method
from autocolor.imaging.color import compose_lab, rgb_to_lab

BASELINES = (
    "none",
    "mean",
    "welsh",
    "welsh+ruderman",
    "charpiat",
    "cheng",
    "nearest_neighbour",
    "deshpande",
)
"""Names for :func:`load_baseline`."""

SCENE_BASELINES = ("deshpande+scene", "deshpande (C)", "deshpande (Q)")
"""Those that know more of a photo than its lightness: its scene class; (C) and (Q) also its histogram."""

NEED_BACKBONE = ("cheng", "nearest_neighbour")
"""Those that read the levels of a network."""

HISTOGRAM_TRANSFERS: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "quantiles": transfer_quantiles,
    "clusters": transfer_clusters,
}
"""(Q) and (C) of Table 4: (automatic RGB, true RGB) -> RGB.

Of the truth "quantiles" knows the marginal histograms of R/L, G/L and B/L, "clusters" the joint
histogram of alpha and beta.
"""


@dataclass(frozen=True)
class Baseline:
    """A method that is ready to colorize."""

    name: str
    method: Method
    #: (path, reason) of references that could not be read or have no colour; empty if they
    #: came from the cache.
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    def __call__(self, lightness: FloatArray) -> FloatArray:
        """Return (H, W, 3) float32 RGB of the given lightness, (H, W) in [0, 1] and of any size."""
        check_unit("lightness", lightness)
        if lightness.ndim != 2 or lightness.size == 0:
            raise InputError("lightness", f"expected shape (H, W), got {lightness.shape}")
        return self.method(np.clip(lightness, 0, 1))


def load_baseline(
    name: str,
    references: Sequence[Path],
    *,
    backbone: FeatureExtractor | None = None,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool = True,
    cheng_options: ChengOptions | None = None,
    deshpande_options: DeshpandeOptions = DeshpandeOptions(),
) -> Baseline:
    """Prepare an automatic method: read the references, train if it must be.

    Parameters
    ----------
    name : str
        One of `BASELINES`.
    references : sequence of Path
        Colour photos; unreadable and colourless ones are skipped and listed. "none" reads none.
    backbone : FeatureExtractor, optional
        Needed by those in `NEED_BACKBONE`, with its levels up to conv5_3.
    seed : int
        Of everything random.
    cache : Path, optional
        Folder in which "cheng" keeps its net, "deshpande" its forest and "nearest_neighbour" its
        descriptors, under a name made of the references' bytes, the backbone, the seed and the options;
        made if need be.
    cheng_options : ChengOptions
        How "cheng" is trained; the defaults unless given.
    deshpande_options : DeshpandeOptions
        How "deshpande" is trained.

    Raises
    ------
    autocolor.training.caffe_train.TrainingError
        If Caffe fails to train.

    Examples
    --------
    >>> welsh = load_baseline("welsh", find_photos(Path("photos"), recursive=True))
    >>> rgb = welsh(lightness(read_image("photo.jpg").rgb))
    """
    if name not in BASELINES:
        raise InputError("name", f"expected one of {', '.join(BASELINES)}, got {name!r}")
    if name == "none":
        return Baseline(name, grey_image)
    sources = References(references)
    known: dict[str, Any] = {"seed": seed, "progress": progress}
    method: Method
    if name in NEED_BACKBONE:
        if backbone is None:
            raise InputError("backbone", f"expected one for {name!r}, got None")
        if name == "nearest_neighbour":
            method = _nearest_neighbour(sources, backbone, cache, **known)
        else:
            method = _cheng(sources, backbone, cache, cheng_options or ChengOptions(), **known)
    elif name == "mean":
        method = mean_color(sources, progress=progress)
    elif name == "deshpande":
        method = Deshpande(sources, cache=cache, options=deshpande_options, **known)
    elif name == "charpiat":
        method = Charpiat(sources, **known)
    else:
        space = "lab" if name == "welsh" else "ruderman"
        method = Welsh(sources, space=space, **known)
    return Baseline(name, method, sources.skipped)


def load_scene_method(
    name: str,
    references: Sequence[Path],
    *,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool = True,
    deshpande_options: DeshpandeOptions = DeshpandeOptions(),
    **options: Any,
) -> SceneMethod:
    """Prepare a method of `BASELINES` or `SCENE_BASELINES` to colorize scenes.

    The latter share what they find for a scene.

    Parameters
    ----------
    name : str
    references, seed, cache, progress, deshpande_options
        As of :func:`load_baseline`. "deshpande+scene" and those of its results learn for each class
        from the references that are in a folder of that name.
    **options
        Others of :func:`load_baseline`.
    """
    known = {"seed": seed, "cache": cache, "progress": progress}
    if name not in SCENE_BASELINES:
        options |= {**known, "deshpande_options": deshpande_options}
        return lightness_method(load_baseline(name, references, **options))
    colorizers = SceneClasses(References(references), options=deshpande_options, **known)

    def solution(scene: Scene) -> Solution:
        return scene.once("deshpande+scene", lambda: colorizers(scene.path).solve(scene.lightness))

    def colorize(scene: Scene) -> FloatArray:
        if name == "deshpande (C)":
            return solution(scene).clustered(scene.lightness, scene.truth)
        rgb = solution(scene).image(scene.lightness)
        return transfer_quantiles(rgb, scene.truth) if name == "deshpande (Q)" else rgb

    return colorize


@dataclass(frozen=True)
class BaselineSource:
    """A baseline with what it learns from, for :mod:`autocolor.evaluation.parts`."""

    name: str  #: Of the method, also in reports
    references: tuple[Path, ...]  #: Colour photos to learn from
    weights: Path  #: VGG-16-gray, for the methods that need a network
    cache: Path  #: Keeps what was learnt
    device: str = "cpu"  #: ``cpu``, ``gpu`` or ``gpu:1``; no part of the identity

    def identity(self) -> dict[str, Any]:
        """Return the hashes of the references and, where they count, of the weights."""
        references = References(self.references).fingerprint()
        identity: dict[str, Any] = {"baseline": self.name, "references": references}
        if self.name in NEED_BACKBONE:
            identity["sha256"] = {self.weights.name: file_sha256(self.weights)}
        return identity

    def load(self) -> SceneMethod:
        """Return the method, which learns now unless it has before."""
        backbone = None
        if self.name in NEED_BACKBONE:
            from autocolor.nets.backbone import Backbone  # needs pycaffe, the other methods do not

            backbone = Backbone(self.weights, device=self.device)
        return load_scene_method(self.name, self.references, backbone=backbone, cache=self.cache)


def mean_color(references: References, *, progress: bool = False) -> Method:
    """Return the method that gives every pixel the mean a and b of the references' pixels.

    Every reference counts the same. Of three readings, the mean of a and b, that of alpha and beta,
    and the geometric median of alpha and beta (the constant of least Eq. 10 on the references), this
    one scored best on validation photos: alpha and beta of dark pixels are large, and sway their mean.
    """
    means = [
        rgb_to_lab(rgb)[..., 1:].mean(axis=(0, 1), dtype=np.float64)
        for _, rgb in references.images(progress, "mean colour")
    ]
    ab = np.mean(means, axis=0).astype(np.float32)

    def colorize(lightness: FloatArray) -> FloatArray:
        light = lightness.astype(np.float32, copy=False)
        return compose_lab(np.broadcast_to(ab, (*light.shape, 2)), light)

    return colorize


def _nearest_neighbour(
    references: References,
    backbone: FeatureExtractor,
    cache: Path | None,
    *,
    seed: int,
    progress: bool,
) -> NearestNeighbour:
    path = None
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        key = references.fingerprint("nearest_neighbour", seed, _identity(backbone))
        path = cache / f"nearest_neighbour-{key}.npz"
        if path.exists():
            return NearestNeighbour(ReferenceBank.load(path), backbone)
    bank = build_bank(references, backbone, np.random.default_rng(seed), progress=progress)
    if path is not None:
        bank.save(path)
    return NearestNeighbour(bank, backbone)


def _cheng(
    references: References,
    backbone: FeatureExtractor,
    cache: Path | None,
    options: ChengOptions,
    *,
    seed: int,
    progress: bool,
) -> Cheng:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if cache is not None:
            key = references.fingerprint("cheng", seed, options, _identity(backbone))
            folder = cache / f"cheng-{key}"
        if not (folder / SCALING).exists():
            rng = np.random.default_rng(seed)
            train_cheng(references, backbone, folder, rng, options, progress=progress)
        return Cheng(folder, backbone)


def _identity(backbone: FeatureExtractor) -> str:
    """Return a hash of what a network makes of one picture, which stands for its weights."""
    ramp = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    level = backbone.features(ramp)[SEMANTIC_LEVEL]
    return hashlib.sha256(np.ascontiguousarray(level).tobytes()).hexdigest()
