"""Score colorizations of photos against the photos themselves, several methods at a time."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np

from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.core.errors import InputError
from autocolor.core.files import file_sha256
from autocolor.core.processes import open_workers
from autocolor.core.progress import tqdm
from autocolor.evaluation.image_errors import PSNR_LIMIT, Measurement, Truth, measure_errors
from autocolor.evaluation.metrics import (
    ColorMetrics,
    Difference,
    Interval,
    Scores,
    image_scores,
    paired_differences,
)
from autocolor.imaging.color import lightness
from autocolor.imaging.images import ImageError, fit_side, read_image, resize, to_uint8

Method = Callable[[FloatArray], FloatArray]
"""Colorizes: (H, W) lightness in [0, 1] -> (H, W, 3) RGB in [0, 1], as `Colorizer.colorize`."""

GREY = "no colorization"
"""The baseline that is always scored: the grey photo itself."""

# (height, width) that the pictures of the gallery are reduced to fit in.
GALLERY_CELL = (270, 360)

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class EvaluationProtocol:
    """What is compared with what."""

    #: Photos are reduced to this side first, with Lanczos filtering, and never enlarged; unless
    #: given, they are colorized and scored at full resolution
    side: int | None = None
    side_of: Literal["larger", "smaller"] = "larger"  #: Which side that is
    #: Round the colorizations to 8 bit before they are scored, as if from a PNG file
    eight_bit: bool = False
    #: Also measure what later work reports; see :class:`autocolor.evaluation.metrics.ColorMetrics`
    extras: bool = True

    def __post_init__(self) -> None:
        if self.side is not None and self.side < 1:
            raise InputError("side", f"expected at least 1, got {self.side}")
        if self.side_of not in ("larger", "smaller"):
            raise InputError("side_of", f"expected 'larger' or 'smaller', got {self.side_of!r}")

    @property
    def resolution(self) -> str:
        """The resolution of the photos, for the reader."""
        return "full" if self.side is None else f"{self.side_of} side reduced to {self.side} pixels"

    def describe(self) -> dict[str, str]:
        """Return the protocol in words, for reports."""
        words = {
            "resolution": self.resolution,
            "prediction": "rounded to 8 bit"
            if self.eight_bit
            else "floating point, not rounded to 8 bit",
            "lightness": "(R + G + B) / 3 of the photo",
            "rmse": "mean over all pixels of the Euclidean alpha-beta error (Eq. 10)",
            "psnr": "arithmetic mean over images of -10 log10(mean squared RGB error), in dB "
            f"(Eq. 11), at most {PSNR_LIMIT:.2f}, the error of rounding to 8 bit",
            "root_mean_square": "root of the mean over all pixels of the squared alpha-beta error",
            "geometric_psnr": "geometric mean over images of the PSNR in dB",
        }
        if self.extras:
            words |= {
                "auc": "area under the share of pixels with ab error up to t = 0...150, over 150",
                "balanced_auc": "the same, pixels weighted by the inverse frequency of the truth's "
                "ab, on a grid of 10, among the pixels scored",
                "colorfulness": "Hasler and Suesstrunk (2003), signed rg and yb, mean over images",
                "ssim": "Wang et al. (2004), RGB, Gaussian window of 11 pixels, mean over images",
            }
        return words


class Scene:
    """A photo to colorize, and what its methods have in common.

    Parameters
    ----------
    path : Path
    protocol : EvaluationProtocol

    Attributes
    ----------
    path : Path
    truth : (H, W, 3) float32 array, RGB in [0, 1]
        As scored, reduced if the protocol says so.
    lightness : (H, W) float32 array

    Raises
    ------
    autocolor.imaging.images.ImageError
        If the photo cannot be read or is encoded as greyscale.
    """

    def __init__(self, path: Path, protocol: EvaluationProtocol = EvaluationProtocol()) -> None:
        self.path = path
        self.truth = read_truth(path)
        if protocol.side is not None:
            self.truth = fit_side(self.truth, protocol.side, protocol.side_of)
        self.lightness = lightness(self.truth)
        self._kept: dict[str, Any] = {}

    @cached_property
    def key(self) -> str:
        """SHA-256 of the file."""
        return file_sha256(self.path)

    def once(self, name: str, compute: Callable[[], _Result]) -> _Result:
        """Return what `compute` gives, called only if this name is asked for the first time."""
        if name not in self._kept:
            self._kept[name] = compute()
        return cast(_Result, self._kept[name])

    def rng(self, seed: int = 0) -> np.random.Generator:
        """Return a generator that depends on the photo and the seed alone."""
        return np.random.default_rng([int(self.key[:16], 16), seed])


SceneMethod = Callable[[Scene], FloatArray]
"""Colorizes a scene, of which it may know the truth: (H, W, 3) RGB in [0, 1]."""


@dataclass(frozen=True)
class PhotoResult:
    """What a scored photo adds to an evaluation."""

    key: str  #: SHA-256 of the file
    #: As scored
    height: int
    width: int
    measurements: dict[str, Measurement]  #: By method
    #: That each method took; what methods share counts for the first that needs it
    seconds: dict[str, float] = field(default_factory=dict)
    #: (h, w, 3) float32 arrays for the gallery, reduced to fit `GALLERY_CELL`: by method,
    #: and "original". Empty unless asked for.
    pictures: dict[str, Float32Array] = field(default_factory=dict)


@dataclass(frozen=True)
class PhotoScores:
    """Scores of one photo by method; `index` is its place in the list.

    The rest is as of :class:`PhotoResult`; there are pictures of the gallery and the worst cases.
    """

    index: int
    path: Path
    label: int | None
    key: str
    height: int
    width: int
    scores: dict[str, Scores]
    pictures: dict[str, Float32Array] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class WorstCases:
    """The photos that a method does worst on, the worst first."""

    method: str
    metric: str
    photos: list[PhotoScores]


@dataclass(frozen=True)
class Evaluation:
    """What :func:`score` found."""

    photos: list[PhotoScores]  #: In the order of the list
    skipped: list[tuple[Path, str]]  #: (path, reason)
    metrics: dict[str, ColorMetrics]  #: By method, "no colorization" first
    protocol: EvaluationProtocol
    photos_sha256: str  #: Of the names and bytes of the scored photos, in order
    #: By largest RMSE and by lowest PSNR, of every method but "no colorization"
    worst: list[WorstCases]
    gallery: list[PhotoScores]  #: Photos spread evenly over the list
    #: That each method took for a photo; 0 where the photos were scored in an earlier run
    seconds: dict[str, float]

    @property
    def scores(self) -> dict[str, Scores]:
        """Scores over all photos, by method."""
        return {name: metrics.scores() for name, metrics in self.metrics.items()}

    def intervals(self, level: float = 0.95) -> dict[str, dict[str, Interval]]:
        """Return the confidence intervals of every method's metrics."""
        return {name: metrics.intervals(level) for name, metrics in self.metrics.items()}

    def differences(
        self, baseline: str = GREY, level: float = 0.95
    ) -> dict[str, dict[str, Difference]]:
        """Return every other method's metrics minus the baseline's, with confidence intervals."""
        return {
            name: paired_differences(metrics, self.metrics[baseline], level)
            for name, metrics in self.metrics.items()
            if name != baseline
        }


class Task(NamedTuple):
    """A photo to score, and whether to draw its pictures."""

    path: Path
    draw: bool = False


class PhotoScorer:
    """Colorizes photos by several methods and measures the results.

    Parameters
    ----------
    methods : mapping of str to SceneMethod
        "no colorization" is added.
    protocol : EvaluationProtocol
    """

    def __init__(self, methods: Mapping[str, SceneMethod], protocol: EvaluationProtocol) -> None:
        if GREY in methods:
            raise InputError("methods", f"{GREY!r} is always scored, choose another name")
        self._methods = {GREY: lightness_method(grey_image), **methods}
        self._protocol = protocol

    def __call__(self, task: Task) -> PhotoResult | str:
        """Return a photo's result, or in one line that names it why it has none.

        That is where it cannot be read, is encoded as greyscale or is too large for the memory, or a method
        refuses it.
        """
        try:
            return self._score(task)
        except MemoryError as error:
            return f"{task.path}: too large for the memory here: {error}"
        except ImageError as error:
            return str(error)

    def _score(self, task: Task) -> PhotoResult:
        protocol = self._protocol
        scene = Scene(task.path, protocol)
        height, width = scene.lightness.shape
        result = PhotoResult(scene.key, height, width, {})
        truth = Truth(scene.truth)
        for name, method in self._methods.items():
            started = time.perf_counter()
            try:
                colorized = method(scene)
                result.seconds[name] = time.perf_counter() - started
                if protocol.eight_bit:
                    colorized = to_uint8(colorized).astype(np.float32) / np.float32(255)
                found = measure_errors(truth, colorized, extras=protocol.extras)
            except (ValueError, ImageError) as error:
                raise ImageError(f"{task.path}: {name}: {error}") from error
            result.measurements[name] = found
            if task.draw:
                result.pictures[name] = _small(colorized)
        if task.draw:
            result.pictures["original"] = _small(scene.truth)
        return result


class Accumulator:
    """Puts an evaluation together from the results of photos, in the order of the list.

    Arguments are those of :func:`score`, with the methods' names without "no colorization".
    """

    def __init__(
        self,
        methods: Sequence[str],
        protocol: EvaluationProtocol,
        *,
        replicates: int = 1000,
        seed: int = 0,
    ) -> None:
        self._protocol = protocol
        self._metrics = {
            name: ColorMetrics(replicates, seed, extras=protocol.extras)
            for name in (GREY, *methods)
        }
        self._seconds = dict.fromkeys(self._metrics, 0.0)
        self._photos: list[PhotoScores] = []
        self._skipped: list[tuple[Path, str]] = []

    def add(
        self, index: int, path: Path, result: PhotoResult | str, label: int | None = None
    ) -> None:
        """Count the photo at a place of the list, or list it as skipped for the reason given."""
        if isinstance(result, str):
            self._skipped.append((path, result))
            return
        scores = {}
        for name, metrics in self._metrics.items():
            measurement = result.measurements[name]
            metrics.add_measurement(measurement, result.key)
            scores[name] = image_scores(measurement)
            self._seconds[name] += result.seconds.get(name, 0.0)
        size = result.height, result.width
        photo = PhotoScores(index, path, label, result.key, *size, scores, result.pictures)
        self._photos.append(photo)

    def worst(self, count: int) -> list[WorstCases]:
        """Return the `count` photos with the largest RMSE and the lowest PSNR of each method."""
        cases = []
        for method in self._metrics:
            if method == GREY or not count:
                continue
            for metric, descending in (("rmse", True), ("psnr", False)):
                values = [getattr(photo.scores[method], metric) for photo in self._photos]
                order = sorted(range(len(values)), key=values.__getitem__, reverse=descending)
                worst = [self._photos[place] for place in order[:count]]
                cases.append(WorstCases(method, metric, worst))
        return cases

    def gallery(self, count: int) -> list[PhotoScores]:
        """Return `count` of the scored photos, spread evenly over the list."""
        return [self._photos[place] for place in spread(len(self._photos), count)]

    def missing_pictures(self, gallery_size: int, worst_size: int) -> list[PhotoScores]:
        """Return the photos of the gallery and of the worst cases that have no pictures yet."""
        shown = [*self.gallery(gallery_size)]
        shown += [photo for case in self.worst(worst_size) for photo in case.photos]
        wanted = {photo.index: photo for photo in shown if not photo.pictures}
        return [wanted[index] for index in sorted(wanted)]

    def finish(self, gallery_size: int, worst_size: int) -> Evaluation:
        """Return the evaluation; photos without pictures are left out of the gallery."""
        if not self._photos:
            reason = f"; the first was skipped: {self._skipped[0][1]}" if self._skipped else ""
            raise ImageError(f"expected at least one colour photo, got none{reason}")
        lines = [f"{photo.path.name}\0{photo.key}\n" for photo in self._photos]
        return Evaluation(
            self._photos,
            self._skipped,
            self._metrics,
            self._protocol,
            hashlib.sha256(os.fsencode("".join(lines))).hexdigest(),
            self.worst(worst_size),
            [photo for photo in self.gallery(gallery_size) if photo.pictures],
            {name: seconds / len(self._photos) for name, seconds in self._seconds.items()},
        )


def add_pictures(photo: PhotoScores, result: PhotoResult | str) -> None:
    """Keep the pictures of a photo that was scored before, if there are any now."""
    if isinstance(result, PhotoResult):
        photo.pictures.update(result.pictures)


def score_photos(
    scorer: Callable[[Task], PhotoResult | str],
    tasks: Sequence[Task],
    *,
    processes: int = 1,
    done: int = 0,
    progress: bool = True,
) -> Iterator[PhotoResult | str]:
    """Yield the results of photos, in their order: every evaluation's one loop.

    Parameters
    ----------
    scorer : callable
        A :class:`PhotoScorer`, or for several processes a function that each can import.
    tasks : sequence of Task
    processes : int
    done : int
        Photos that the progress bar, on stderr, counts as done before.

    Raises
    ------
    autocolor.core.processes.WorkerError
        If a process is lost.
    """
    with (
        open_workers(min(processes, max(1, len(tasks)))) as workers,
        tqdm(total=done + len(tasks), initial=done, unit="photo", disable=not progress) as bar,
    ):
        for result in workers.map_ordered(scorer, tasks):
            yield result
            bar.update()


def score(
    methods: Mapping[str, SceneMethod],
    paths: Sequence[Path],
    *,
    protocol: EvaluationProtocol = EvaluationProtocol(),
    replicates: int = 1000,
    seed: int = 0,
    gallery_size: int = 0,
    worst_size: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Colorize each photo by every method and score the results.

    Unreadable photos, photos encoded as greyscale and photos that a method refuses are skipped, for
    all methods, and listed. As in the paper (section 4), a photo that is naturally grey counts: there
    an algorithm should know not to add colour. Photos are read one at a time.

    Parameters
    ----------
    methods : mapping of str to SceneMethod
        By the names that reports show; "no colorization" is always scored beside them.
    paths : sequence of Path
    protocol : EvaluationProtocol
        Full resolution and all metrics unless given.
    replicates, seed : int
        Of the bootstrap, as of :class:`autocolor.evaluation.metrics.ColorMetrics`.
    gallery_size : int
        Photos kept for the gallery, spread evenly over those scored.
    worst_size : int
        Photos kept as the worst of each method by each of RMSE and PSNR.
    progress : bool
        Show a progress bar on stderr.

    Raises
    ------
    autocolor.imaging.images.ImageError
        If no photo could be scored.
    """
    scorer = PhotoScorer(methods, protocol)
    accumulator = Accumulator(tuple(methods), protocol, replicates=replicates, seed=seed)
    shown = set(spread(len(paths), gallery_size))
    tasks = [Task(path, index in shown) for index, path in enumerate(paths)]
    for index, result in enumerate(score_photos(scorer, tasks, progress=progress)):
        accumulator.add(index, paths[index], result)
    # Photos that took the place of skipped ones, and the worst, are known only now.
    for photo in accumulator.missing_pictures(gallery_size, worst_size):
        add_pictures(photo, scorer(Task(photo.path, draw=True)))
    return accumulator.finish(gallery_size, worst_size)


def evaluate(
    methods: Mapping[str, Method], paths: Sequence[Path], *, gallery_size: int = 12, **options: Any
) -> Evaluation:
    """Score methods that know a photo's lightness alone, with a gallery; see :func:`score`."""
    lifted = {name: lightness_method(method) for name, method in methods.items()}
    return score(lifted, paths, gallery_size=gallery_size, **options)


def lightness_method(method: Method) -> SceneMethod:
    """Return a method of scenes that looks at their lightness alone."""
    return lambda scene: method(scene.lightness)


def spread(length: int, count: int) -> list[int]:
    """Return `count` places, or all, spread evenly over [0, length)."""
    places = np.linspace(0, length - 1, min(count, length)).round().astype(int)
    return [int(place) for place in places]


def grey_image(light: FloatArray) -> Float32Array:
    """Return a lightness (H, W) as (H, W, 3) RGB without colour."""
    return np.repeat(light.astype(np.float32, copy=False)[..., None], 3, axis=-1)


def read_truth(path: Path) -> Float32Array:
    """Read a photo as RGB; an `ImageError` if it cannot be read or is encoded as greyscale."""
    photo = read_image(path)
    if photo.is_grey:
        raise ImageError(f"{path}: is encoded as greyscale: its colours are not known")
    return photo.rgb


def read_color(path: Path) -> Float32Array:
    """Read a photo whose colours are taken for others; an `ImageError` if it has none."""
    rgb = read_image(path).rgb
    if np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 1], rgb[..., 2]):
        raise ImageError(f"{path}: has no colour")
    return rgb


def _small(image: FloatArray) -> Float32Array:
    height, width = image.shape[:2]
    factor = min(1.0, GALLERY_CELL[0] / height, GALLERY_CELL[1] / width)
    return resize(image, (max(1, round(height * factor)), max(1, round(width * factor))))
