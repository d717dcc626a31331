"""Error metrics: literal values, naive loops over pixels, and what the reading of Eq. 10 is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autocolor.metrics import ColorMetrics


def naive(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Eq. 10 and 11 pixel by pixel."""

    def alpha_beta(pixel: np.ndarray) -> tuple[float, float]:
        red, green, blue = (float(value) for value in pixel)
        light = (red + green + blue) / 3 + 0.0001
        return (blue - (red + green) / 2) / light, (red - green) / light

    errors, psnrs = [], []
    for truth, prediction in pairs:
        square = 0.0
        for left, right in zip(truth.reshape(-1, 3), prediction.reshape(-1, 3), strict=True):
            (a, b), (c, d) = alpha_beta(left), alpha_beta(right)
            errors.append(math.hypot(a - c, b - d))
            square += float(((left - right) ** 2).sum())
        psnrs.append(-10 * math.log10(square / (3 * truth.shape[0] * truth.shape[1])))
    return sum(errors) / len(errors), sum(psnrs) / len(psnrs)


def test_against_naive_loops() -> None:
    rng = np.random.default_rng(0)
    # Images of different sizes: RMSE weighs pixels, PSNR weighs images.
    pairs = [(rng.random((h, w, 3)), rng.random((h, w, 3))) for h, w in ((2, 3), (9, 5), (1, 1))]
    metrics = ColorMetrics()
    for truth, prediction in pairs:
        scores = metrics.add(truth, prediction)
        assert (scores.rmse, scores.psnr) == pytest.approx(naive([(truth, prediction)]))
    total = metrics.scores()
    assert (total.rmse, total.psnr) == pytest.approx(naive(pairs))
    assert metrics.images == 3


def test_rmse_is_the_mean_of_the_norms() -> None:
    # One pixel is right, one has an alpha-beta error of 0.3/0.3001 in beta only: the mean of the
    # norms is half of it; the root of the mean square would be 0.707 of it.
    truth = np.array([[[0.3, 0.3, 0.3], [0.45, 0.15, 0.3]]])
    scores = ColorMetrics().add(truth, np.full((1, 2, 3), 0.3))
    assert scores.rmse == pytest.approx(0.5 * 0.3 / 0.3001)


def test_psnr_literal() -> None:
    # An error of 0.1 in every channel is 20 dB.
    scores = ColorMetrics().add(np.full((4, 4, 3), 0.5), np.full((4, 4, 3), 0.6))
    assert scores.psnr == pytest.approx(20)


def test_exact_prediction() -> None:
    image = np.random.default_rng(1).random((5, 4, 3), dtype=np.float32)
    scores = ColorMetrics().add(image, image)
    assert scores.rmse == 0 and scores.psnr == math.inf


def test_float32_agrees_with_float64() -> None:
    rng = np.random.default_rng(2)
    truth, prediction = rng.random((100, 120, 3)), rng.random((100, 120, 3))
    double = ColorMetrics().add(truth, prediction)
    single = ColorMetrics().add(truth.astype(np.float32), prediction.astype(np.float32))
    assert single.rmse == pytest.approx(double.rmse, rel=1e-5)
    assert single.psnr == pytest.approx(double.psnr, rel=1e-5)


def test_wrong_arguments() -> None:
    metrics = ColorMetrics()
    with pytest.raises(ValueError, match="expected at least one image"):
        metrics.scores()
    with pytest.raises(ValueError, match=r"prediction: expected shape \(2, 2, 3\)"):
        metrics.add(np.zeros((2, 2, 3)), np.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match="rgb: expected finite values"):
        metrics.add(np.zeros((2, 2, 3)), np.full((2, 2, 3), 255.0))
    assert metrics.images == 0
