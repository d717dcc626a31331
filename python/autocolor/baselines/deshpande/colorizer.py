"""The whole method: photos that look alike, the forest, the linear system; by scene class or without."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from autocolor.baselines.cluster_correspondence import alpha_beta_histogram, correspond
from autocolor.baselines.deshpande.features import (
    FilterPlane,
    color_filters,
    regression_features,
    split_features,
)
from autocolor.baselines.deshpande.field import ColorField
from autocolor.baselines.deshpande.forest import Forest, ForestOptions, Samples, train_forest
from autocolor.baselines.references import References, enlarge, working_image
from autocolor.baselines.welsh import Gist
from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.core.errors import InputError
from autocolor.core.files import atomic_path
from autocolor.core.progress import tqdm
from autocolor.imaging.color import compose_alpha_beta, lightness, rgb_to_alpha_beta
from autocolor.imaging.images import resize

MatchColors = tuple[FloatArray, FloatArray]
"""Mean and deviation (H, W, 2) of the alpha and beta of the photos that are like a photo."""

_TILE_PIXELS = 4096


@dataclass(frozen=True)
class DeshpandeOptions:
    """How the method is trained."""

    matches: int = 9  #: References most like a photo, by gist, whose mean colour it starts from
    #: References to learn from, spread evenly over all, and pixels of each, at most
    photos: int = 100
    pixels: int = 5000
    forest: ForestOptions = ForestOptions()


@dataclass(frozen=True)
class Solution:
    """The colours of a photo, (H, W, 2) alpha and beta at its working size, and what they minimise."""

    light: FloatArray
    system: ColorField
    colors: FloatArray

    def image(self, lightness: FloatArray) -> Float32Array:
        """Return (H', W', 3) RGB of the photo's own lightness, (H', W') in [0, 1]."""
        return _compose(self.colors, lightness)

    def clustered(self, lightness: FloatArray, truth: FloatArray) -> Float32Array:
        """Return RGB corrected by clusters of the joint alpha and beta histogram of `truth`, RGB (C)."""
        automatic = compose_alpha_beta(self.colors, self.light)
        clusters = correspond(alpha_beta_histogram(automatic), alpha_beta_histogram(truth))
        return _compose(self.system.correct(self.colors, clusters), lightness)


def _compose(colors: FloatArray, lightness: FloatArray) -> Float32Array:
    height, width = lightness.shape
    light = lightness.astype(np.float32, copy=False)
    return np.asarray(compose_alpha_beta(enlarge(colors, (height, width)), light), np.float32)


@dataclass(frozen=True)
class DeshpandeModel:
    """What is learnt: filters of colour, (2, 28, 11, 11), and the forest."""

    kernels: Float32Array
    forest: Forest

    def solve(self, light: FloatArray, matches: MatchColors) -> Solution:
        """Return the colours of an (H, W) lightness in [0, 1], given its matches' at the same size."""
        split = split_features(light, *matches).reshape(light.size, -1)
        features = regression_features(light, matches[0]).reshape(light.size, -1)
        a = np.empty((light.size, *self.forest.a.shape), np.float32)
        b = np.empty(a.shape[:2], np.float32)
        for start in range(0, light.size, _TILE_PIXELS):
            tile = slice(start, start + _TILE_PIXELS)
            a[tile], b[tile] = self.forest.evaluate(split[tile], features[tile])
        plane = FilterPlane(self.kernels, light.shape)
        system = ColorField(
            plane, a.reshape(*light.shape, *a.shape[1:]), b.reshape(*light.shape, -1)
        )
        return Solution(light, system, system.solve())


def train_model(
    photos: Sequence[FloatArray],
    matches: Callable[[int], MatchColors],
    rng: np.random.Generator,
    options: DeshpandeOptions = DeshpandeOptions(),
    *,
    progress: bool = False,
) -> DeshpandeModel:
    """Learn from photos, (H, W, 3) RGB in [0, 1], and the matches of the one at an index."""
    kernels = color_filters([rgb_to_alpha_beta(rgb) for rgb in photos], rng)
    # No more pixels than the trees can use together.
    used = (options.forest.stumps + 1) * options.forest.pixels // len(photos) + 1
    parts = []
    for index, rgb in enumerate(tqdm(photos, "features", unit="photo", disable=not progress)):
        light, found = lightness(rgb), matches(index)
        chosen = rng.permutation(light.size)[: min(options.pixels, used)]
        maps = (
            split_features(light, *found),
            regression_features(light, found[0]),
            FilterPlane(kernels, light.shape).apply(rgb_to_alpha_beta(rgb)),
        )
        parts.append([values.reshape(light.size, -1)[chosen] for values in maps])
    samples = Samples(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    first = np.zeros((options.forest.rows, samples.features.shape[1] + 1))
    first[0, 0] = first[1, 1] = 1  # alpha and beta are first those of the matches
    return DeshpandeModel(
        kernels, train_forest(samples, first, rng, options.forest, progress=progress)
    )


class Deshpande:
    """Colorizes photos by what it has learnt from references.

    Parameters
    ----------
    references : References
        Those that cannot be read or have no colour are skipped and listed there.
    seed : int
    cache : Path, optional
        Folder that keeps what is learnt, under a name made of the references' bytes, the seed and the
        options.
    options : DeshpandeOptions
    progress : bool
        Show progress bars on stderr.
    """

    def __init__(
        self,
        references: References,
        *,
        seed: int = 0,
        cache: Path | None = None,
        options: DeshpandeOptions = DeshpandeOptions(),
        progress: bool = False,
    ) -> None:
        self._references = references
        self._gist = Gist()
        self._matches = options.matches
        path = None
        if cache is not None:
            cache.mkdir(parents=True, exist_ok=True)
            path = cache / f"deshpande-{references.fingerprint('deshpande', seed, options)}.npz"
        if path is not None and path.exists():
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            self._index(arrays.pop("places"), arrays.pop("gists"))
            self._model = DeshpandeModel(arrays.pop("kernels"), Forest(**arrays))
            return
        place = {source: index for index, source in enumerate(references.paths)}
        gists = {
            place[source]: self._gist(lightness(rgb))
            for source, rgb in references.images(progress, "describing references")
        }
        places, described = np.array(list(gists)), np.stack(list(gists.values()))
        self._index(places, described)
        chosen = np.linspace(0, len(places) - 1, min(options.photos, len(places))).astype(int)
        self._model = train_model(
            [self._read(index) for index in chosen],
            lambda photo: self._match(lightness(self._read(chosen[photo])), chosen[photo]),
            np.random.default_rng(seed),
            options,
            progress=progress,
        )
        if path is not None:
            arrays = {"places": places, "gists": described, "kernels": self._model.kernels}
            with atomic_path(path) as partial:
                np.savez(partial, allow_pickle=False, **arrays, **vars(self._model.forest))

    def _index(self, places: npt.NDArray[np.int64], gists: Float32Array) -> None:
        self._places = places
        self._tree = scipy.spatial.cKDTree(gists)

    def _read(self, index: int) -> Float32Array:
        return self._references.read(self._references.paths[self._places[index]])

    def _match(self, light: FloatArray, but: int = -1) -> MatchColors:
        """Return the colours of the matches; reference `but` is none unless it is the only one."""
        count = min(self._matches + 1, len(self._places))
        _, found = self._tree.query(self._gist(light), k=[*range(1, count + 1)])
        chosen = [index for index in found if index != but][: self._matches] or [but]
        colors = [rgb_to_alpha_beta(resize(self._read(index), light.shape)) for index in chosen]
        return np.mean(colors, axis=0), np.std(colors, axis=0)

    def solve(self, lightness: FloatArray) -> Solution:
        """Return the colours of an (H, W) lightness in [0, 1], found at its working size."""
        light = working_image(lightness)
        return self._model.solve(light, self._match(light))

    def __call__(self, lightness: FloatArray) -> Float32Array:
        """Return (H, W, 3) RGB of the given (H, W) lightness in [0, 1]."""
        return self.solve(lightness).image(lightness)


class SceneClasses:
    """A colorizer for each class of scenes, the name of the folder that a photo is in.

    Parameters
    ----------
    references : References
    **options
        Of :class:`Deshpande`.
    """

    def __init__(self, references: References, **options: Any) -> None:
        folders = defaultdict(list)
        for path in references.paths:
            folders[path.parent.name].append(path)
        if not folders:
            raise InputError("references", "expected at least one colour photo, got none")
        self._colorizers = {}
        for name, paths in folders.items():
            own = References(paths)
            self._colorizers[name] = Deshpande(own, **options)
            references.skipped += own.skipped

    def __call__(self, path: Path) -> Deshpande:
        """Return the colorizer of the class that a photo is in; a single class is for all photos."""
        name = path.parent.name if len(self._colorizers) > 1 else next(iter(self._colorizers))
        if name not in self._colorizers:
            known = ", ".join(sorted(self._colorizers))
            raise InputError("scene", f"expected a photo in a folder called {known}, got {name!r}")
        return self._colorizers[name]
