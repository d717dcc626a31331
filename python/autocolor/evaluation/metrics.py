"""The metrics of the paper (A.3) and of later work over any number of images.

Memory is constant in the number of images. Sums are float64: images that were added in another
order, or in parts that were merged, give the same metrics to 1e-12.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray
from autocolor.core.errors import InputError
from autocolor.evaluation.bootstrap import percentile_interval, poisson_weights
from autocolor.evaluation.image_errors import (
    COLOR_CLASSES,
    CREDIT_UNIT,
    ERROR_BINS,
    EXTRA_SUMS,
    PAPER_SUMS,
    Measurement,
    Truth,
    measure_errors,
)

PSNR_BIN_WIDTH = 0.5
"""Width in dB of the bins of the histogram of per-image PSNR (Fig. 8)."""

PSNR_BINS = 120
"""Their number: no PSNR is above `autocolor.evaluation.image_errors.PSNR_LIMIT`."""


@dataclass(frozen=True)
class Scores:
    """Metrics of one image or of many, as docs/evaluation.md defines them; None if not measured."""

    rmse: float
    psnr: float
    root_mean_square: float | None = None
    geometric_psnr: float | None = None
    auc: float | None = None
    balanced_auc: float | None = None
    colorfulness: float | None = None
    truth_colorfulness: float | None = None
    ssim: float | None = None

    def to_dict(self) -> dict[str, float | str]:
        """Return the metrics that were measured, for JSON."""
        return to_json(self)


def to_json(row: Scores | Interval | Difference) -> dict[str, float | str]:
    """Return the numbers that there are, for JSON, which has no infinity and no NaN: "nan"."""
    return {
        name: value if math.isfinite(value) else str(value)
        for name, value in asdict(row).items()
        if value is not None
    }


@dataclass(frozen=True)
class Interval:
    """Confidence interval of a metric."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A metric minus that of a baseline on the same images, with its confidence interval."""

    value: float
    low: float
    high: float


class ColorMetrics:
    """Metrics over images that are added one at a time.

    Eq. 10 prints a norm inside the root of a square; it is read as the mean of the norms, since as
    the root of a mean square the paper's row "no colorization" would come out larger. The inner sum
    sign of Eq. 11 is a misprint.

    Parameters
    ----------
    replicates : int
        Of the bootstrap over images; 0 leaves it out, and with it intervals and differences.
    seed : int
        Of the bootstrap. Methods are compared on the same seed.
    extras : bool
        Also measure what later work reports: AuC, colourfulness and SSIM. LPIPS is left out: the
        package that computes it downloads its backbone's weights when it runs.

    Attributes
    ----------
    images, limited_images : int
    error_histogram : (ERROR_BINS,) int64 array
        Pixels by alpha-beta error, in bins of `autocolor.evaluation.image_errors.ERROR_BIN_WIDTH` (Fig. 7).
    psnr_histogram : (PSNR_BINS,) int64 array
        Images by PSNR, in bins of `PSNR_BIN_WIDTH` (Fig. 8).

    Examples
    --------
    >>> metrics = ColorMetrics()
    >>> scores_of_one = metrics.add(truth, prediction, "photo.jpg")
    >>> metrics.scores().rmse
    >>> metrics.intervals()["rmse"]
    """

    def __init__(self, replicates: int = 1000, seed: int = 0, *, extras: bool = False) -> None:
        if replicates < 0:
            raise InputError("replicates", f"expected at least 0, got {replicates}")
        self._arguments: dict[str, Any] = {
            "replicates": replicates,
            "seed": seed if replicates else None,
            "extras": extras,
        }
        self._names = PAPER_SUMS + (EXTRA_SUMS if extras else ())
        # The first column has every image once, the others as often as a replicate draws it.
        self._sums = np.zeros((len(self._names), 1 + replicates))
        self.error_histogram = np.zeros(ERROR_BINS, np.int64)
        self.psnr_histogram = np.zeros(PSNR_BINS, np.int64)
        # Pixels and credit by the truth's class of colour.
        self._classes = np.zeros((2, COLOR_CLASSES), np.int64)

    @property
    def images(self) -> int:
        """Images so far."""
        return int(self._sums[self._names.index("images"), 0])

    @property
    def limited_images(self) -> int:
        """Images so far whose PSNR is the largest there is, for errors that 8 bit cannot hold."""
        return int(self._sums[self._names.index("limited_psnr"), 0])

    def add(
        self, truth: FloatArray | Truth, prediction: FloatArray, key: str | None = None
    ) -> Scores:
        """Count one image.

        Parameters
        ----------
        truth : (H, W, 3) float array, RGB in [0, 1], or Truth
            A :class:`autocolor.evaluation.image_errors.Truth` where several predictions share it.
        prediction : (H, W, 3) float array, RGB in [0, 1]
        key : str, optional
            Name or hash of the image, the same for every method; the bootstrap needs it. Adding a
            key twice counts the image twice, which nothing here can notice.

        Returns
        -------
        Scores
            Of this image alone.
        """
        if not isinstance(truth, Truth):
            truth = Truth(truth)
        measurement = measure_errors(truth, prediction, extras=self._arguments["extras"])
        self.add_measurement(measurement, key)
        return image_scores(measurement)

    def add_measurement(self, measurement: Measurement, key: str | None = None) -> None:
        """Count one image that :func:`autocolor.evaluation.image_errors.measure_errors` measured."""
        replicates, seed, extras = self._arguments.values()
        if extras != (measurement.class_pixels is not None):
            raise InputError("measurement", f"expected extras={extras}, got the opposite")
        weights = np.ones(1 + replicates)
        if replicates:
            if key is None:
                raise InputError("key", "expected the image's name or hash, got none")
            weights[1:] = poisson_weights(key, replicates, seed)
        self._sums += np.outer([measurement.sums[name] for name in self._names], weights)
        self.error_histogram += measurement.errors
        self.psnr_histogram[int(measurement.sums["psnr"] / PSNR_BIN_WIDTH)] += 1
        if measurement.class_pixels is not None and measurement.class_credit is not None:
            self._classes += np.stack([measurement.class_pixels, measurement.class_credit])

    def merge(self, other: ColorMetrics) -> None:
        """Add the images of `other`, which must be other images.

        Whether images overlap cannot be seen from sums; `tools/evaluate.py --merge` finds out from
        the photos' names.
        """
        if other is self:
            raise InputError("other", "expected the metrics of other images, got the same")
        if self._arguments != other._arguments:
            raise InputError("other", f"expected {self._arguments}, got {other._arguments}")
        self._sums += other._sums
        self.error_histogram += other.error_histogram
        self.psnr_histogram += other.psnr_histogram
        self._classes += other._classes

    def scores(self) -> Scores:
        """Return the metrics over all images so far, of which there is at least one."""
        values = {name: _number(columns[0]) for name, columns in self._columns().items()}
        if self._arguments["extras"]:
            values["balanced_auc"] = _balanced_auc(self._classes)
        return Scores(**values)

    def intervals(self, level: float = 0.95) -> dict[str, Interval]:
        """Return confidence intervals over images, by the names of :class:`Scores`.

        They are percentiles of the bootstrap's replicates: how far the scores of as many other
        photos of the same kind may lie. Below some twenty images they are too narrow.
        `balanced_auc` has none, as its replicates would take a histogram each.
        """
        return {
            name: Interval(*percentile_interval(values, level))
            for name, values in self._replicates().items()
        }

    def _replicates(self) -> dict[str, FloatArray]:
        """Return the (replicates,) values of each metric."""
        columns = self._columns()
        if not self._arguments["replicates"]:
            raise InputError("replicates", "expected a bootstrap of at least 1, got 0")
        return {name: values[1:] for name, values in columns.items()}

    def _columns(self) -> dict[str, FloatArray]:
        """Return the (1 + replicates,) values of each metric."""
        if not self.images:
            raise InputError("metrics", "expected at least one image, got none")
        return _ratio_metrics(dict(zip(self._names, self._sums, strict=True)))

    def _drawn(self) -> FloatArray:
        """Return the (2, 1 + replicates) images and pixels drawn: integers, so exact."""
        return self._sums[[self._names.index("images"), self._names.index("pixels")]]

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state as numbers, strings and lists, for JSON."""
        return {
            **self._arguments,
            "sums": self._sums.tolist(),
            "error_histogram": self.error_histogram.tolist(),
            "psnr_histogram": self.psnr_histogram.tolist(),
            "classes": self._classes.tolist(),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ColorMetrics:
        """Return what :meth:`to_dict` wrote down."""
        try:
            metrics = cls(state["replicates"], state["seed"] or 0, extras=state["extras"])
            metrics._sums[:] = state["sums"]
            metrics.error_histogram[:] = state["error_histogram"]
            metrics.psnr_histogram[:] = state["psnr_histogram"]
            metrics._classes[:] = state["classes"]
        except (KeyError, TypeError) as error:
            raise InputError("state", f"expected that of ColorMetrics, got {error!r}") from error
        return metrics


def paired_differences(
    metrics: ColorMetrics, baseline: ColorMetrics, level: float = 0.95
) -> dict[str, Difference]:
    """Return the metrics minus the baseline's, with confidence intervals over images.

    Both must have seen the same images. A replicate draws the same images for both, so what is hard
    for both cancels out: the difference is known better than either metric.
    """
    if metrics._arguments != baseline._arguments:
        raise InputError("baseline", f"expected {metrics._arguments}, got {baseline._arguments}")
    values, references = metrics._replicates(), baseline._replicates()
    # The numbers of images and pixels drawn into each replicate depend on every key.
    if not np.array_equal(metrics._drawn(), baseline._drawn()):
        raise InputError(
            "baseline",
            f"expected the same images, {metrics.images}, got {baseline.images} "
            "that are not all the same",
        )
    scores, reference = metrics.scores(), baseline.scores()
    return {
        name: Difference(
            getattr(scores, name) - getattr(reference, name),
            *percentile_interval(values[name] - references[name], level),
        )
        for name in values
    }


def image_scores(measurement: Measurement) -> Scores:
    """Return the metrics of one image."""
    columns = _ratio_metrics({name: np.array(value) for name, value in measurement.sums.items()})
    values = {name: _number(value) for name, value in columns.items()}
    if measurement.class_pixels is not None and measurement.class_credit is not None:
        classes = np.stack([measurement.class_pixels, measurement.class_credit])
        values["balanced_auc"] = _balanced_auc(classes)
    return Scores(**values)


def _ratio_metrics(sums: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return the metrics that are ratios of sums; NaN where there is nothing to divide by."""

    def ratio(name: str, count: str) -> FloatArray:
        return np.asarray(sums[name] / sums[count])

    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        values = {
            "rmse": ratio("error", "pixels"),
            "psnr": ratio("psnr", "images"),
            "root_mean_square": np.sqrt(ratio("square_error", "pixels")),
            "geometric_psnr": np.where(
                sums["zero_psnr"] > 0, 0.0, np.exp(ratio("log_psnr", "images"))
            ),
        }
        if "auc" in sums:
            values["auc"] = ratio("auc", "pixels")
            values["colorfulness"] = ratio("colorfulness", "images")
            values["truth_colorfulness"] = ratio("truth_colorfulness", "images")
            values["ssim"] = ratio("ssim", "ssim_images")
    return values


def _number(value: Any) -> float:
    return math.nan if np.isnan(value) else float(value)  # one NaN, so that equal scores compare so


def _balanced_auc(classes: npt.NDArray[np.int64]) -> float:
    """Return the mean over the classes of colour that occur of their pixels' mean credit."""
    pixels, credit = classes[:, classes[0] > 0]
    return float(np.mean(credit * CREDIT_UNIT / pixels))
