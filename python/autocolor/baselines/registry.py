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

import numpy as np
import numpy.typing as npt

from autocolor.baselines.cheng import SEMANTIC_LEVEL, Cheng, ChengOptions, train_cheng
from autocolor.baselines.cluster_correspondence import transfer_clusters
from autocolor.baselines.descriptors import FeatureExtractor
from autocolor.baselines.mean_color import MeanColor, mean_ab
from autocolor.baselines.nearest_neighbour import NearestNeighbour, ReferenceBank, build_bank
from autocolor.baselines.references import Method, References
from autocolor.baselines.welsh import Welsh
from autocolor.control.quantile import transfer_quantiles
from autocolor.core.arrays import FloatArray, check_same_shape, check_unit
from autocolor.evaluation.evaluate import grey_image

BASELINES = ("none", "mean", "welsh", "cheng", "nearest_neighbour")
"""Names for :func:`load_baseline`."""

NEED_BACKBONE = ("cheng", "nearest_neighbour")
"""Those that read the levels of a network."""

HISTOGRAM_TRANSFERS: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "quantiles": transfer_quantiles,
    "clusters": transfer_clusters,
}
"""(Q) and (C) of Table 4: (automatic RGB, true RGB) -> RGB, both by the truth's histogram alone."""


@dataclass(frozen=True)
class Baseline:
    """A method that is ready to colorize.

    Attributes
    ----------
    name : str
    method : callable
    skipped : list of (path, reason)
        References that could not be read or have no colour; empty if they came from the cache.
    """

    name: str
    method: Method
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    def __call__(self, lightness: FloatArray) -> npt.NDArray[np.float32]:
        """Colorize a photo.

        Parameters
        ----------
        lightness : (H, W) float array in [0, 1]
            (R + G + B)/3; any size.

        Returns
        -------
        (H, W, 3) float32 array, RGB in [0, 1], of the given lightness.

        Raises
        ------
        ValueError
            If `lightness` is no such array.
        """
        check_unit("lightness", lightness)
        if lightness.ndim != 2 or lightness.size == 0:
            raise ValueError(f"lightness: expected shape (H, W), received {lightness.shape}")
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
        Folder in which "cheng" keeps its net and "nearest_neighbour" its descriptors, under a name
        made of the references' bytes, the backbone, the seed and the options; made if need be.
    progress : bool
        Show progress bars on stderr.
    cheng_options : ChengOptions
        How "cheng" is trained; the defaults unless given.

    Raises
    ------
    ValueError
        If the name is unknown, the backbone is missing, or no reference can be read.
    autocolor.training.caffe_train.TrainingError
        If Caffe fails to train.

    Examples
    --------
    >>> welsh = load_baseline("welsh", find_photos(Path("photos"), recursive=True))
    >>> rgb = welsh(lightness(read_image("photo.jpg").rgb))
    """
    if name not in BASELINES:
        raise ValueError(f"name: expected one of {', '.join(BASELINES)}, received {name!r}")
    if name == "none":
        return Baseline(name, grey_image)
    sources = References(references)
    if name == "mean":
        method: Method = MeanColor(mean_ab(sources, progress=progress))
        return Baseline(name, method, sources.skipped)
    if name == "welsh":
        method = Welsh(sources, seed=seed, progress=progress)
        return Baseline(name, method, sources.skipped)
    if backbone is None:
        raise ValueError(f"backbone: expected one for {name!r}, received None")
    rng = np.random.default_rng(seed)
    if name == "nearest_neighbour":
        return Baseline(
            name, _nearest_neighbour(sources, backbone, seed, rng, cache, progress), sources.skipped
        )
    return Baseline(
        name,
        _cheng(sources, backbone, seed, rng, cache, progress, cheng_options or ChengOptions()),
        sources.skipped,
    )


def load_histogram_baseline(
    name: str, automatic: Method
) -> Callable[[FloatArray, FloatArray], FloatArray]:
    """Return a method of Table 4: (lightness, true RGB) -> RGB.

    Parameters
    ----------
    name : str
        One of `HISTOGRAM_TRANSFERS`. Of the truth it knows "quantiles": the marginal histograms of
        R/L, G/L and B/L; "clusters": the joint histogram of alpha and beta.
    automatic : callable
        Colorizes the lightness first; any baseline, or ``Colorizer.colorize``.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if name not in HISTOGRAM_TRANSFERS:
        names = ", ".join(HISTOGRAM_TRANSFERS)
        raise ValueError(f"name: expected one of {names}, received {name!r}")
    transfer = HISTOGRAM_TRANSFERS[name]

    def colorize(lightness: FloatArray, truth: FloatArray) -> FloatArray:
        check_same_shape("truth", truth, (*lightness.shape, 3))
        return transfer(automatic(lightness), truth)

    return colorize


def _nearest_neighbour(
    references: References, backbone: FeatureExtractor, seed: int, rng: np.random.Generator,
    cache: Path | None, progress: bool,
) -> NearestNeighbour:  # fmt: skip
    if cache is None:
        return NearestNeighbour(build_bank(references, backbone, rng, progress=progress), backbone)
    cache.mkdir(parents=True, exist_ok=True)
    key = references.fingerprint("nearest_neighbour", seed, _identity(backbone))
    path = cache / f"nearest_neighbour-{key}.npz"
    if not path.exists():
        build_bank(references, backbone, rng, progress=progress).save(path)
    return NearestNeighbour(ReferenceBank.load(path), backbone)


def _cheng(
    references: References, backbone: FeatureExtractor, seed: int, rng: np.random.Generator,
    cache: Path | None, progress: bool, options: ChengOptions,
) -> Cheng:  # fmt: skip
    if cache is None:
        with tempfile.TemporaryDirectory() as name:
            train_cheng(references, backbone, Path(name), rng, options, progress=progress)
            return Cheng(Path(name), backbone)
    folder = cache / f"cheng-{references.fingerprint('cheng', seed, options, _identity(backbone))}"
    if not (folder / "cheng.caffemodel").exists():  # written last
        train_cheng(references, backbone, folder, rng, options, progress=progress)
    return Cheng(folder, backbone)


def _identity(backbone: FeatureExtractor) -> str:
    """Return a hash of what a network makes of one picture, which stands for its weights."""
    ramp = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    level = backbone.features(ramp)[SEMANTIC_LEVEL]
    return hashlib.sha256(np.ascontiguousarray(level).tobytes()).hexdigest()
