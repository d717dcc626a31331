"""The metrics: literal values, naive loops over pixels, merging, intervals that cover."""

from __future__ import annotations

import json
import math
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
from skimage.color import lab2rgb, rgb2lab

from autocolor.evaluation.bootstrap import poisson_weights
from autocolor.evaluation.image_errors import (
    COLOR_CLASSES,
    ERROR_BIN_WIDTH,
    PSNR_LIMIT,
    Measurement,
    Truth,
    colorfulness,
    measure_errors,
    structural_similarity_of,
)
from autocolor.evaluation.metrics import ColorMetrics, Scores, paired_differences
from autocolor.imaging.color import rgb_to_alpha_beta

Pairs = list[tuple[np.ndarray, np.ndarray]]


def naive_errors(truth: np.ndarray, prediction: np.ndarray) -> tuple[list[float], float]:
    """Alpha-beta errors and mean squared RGB error, pixel by pixel in float64."""

    def alpha_beta(pixel: np.ndarray) -> tuple[float, float]:
        red, green, blue = (float(value) for value in pixel)
        light = (red + green + blue) / 3 + 0.0001
        return (blue - (red + green) / 2) / light, (red - green) / light

    errors, square = [], 0.0
    for left, right in zip(truth.reshape(-1, 3), prediction.reshape(-1, 3), strict=True):
        (a, b), (c, d) = alpha_beta(left), alpha_beta(right)
        errors.append(math.sqrt((a - c) ** 2 + (b - d) ** 2))
        square += sum((float(x) - float(y)) ** 2 for x, y in zip(left, right, strict=True))
    return errors, square / (3 * len(errors))


def naive(pairs: Pairs) -> dict[str, float]:
    """All metrics of the paper, in both readings."""
    errors, psnrs = [], []
    for truth, prediction in pairs:
        found, square = naive_errors(truth, prediction)
        errors += found
        psnrs.append(-10 * math.log10(square))
    return {
        "rmse": math.fsum(errors) / len(errors),
        "psnr": math.fsum(psnrs) / len(psnrs),
        "root_mean_square": math.sqrt(math.fsum(e * e for e in errors) / len(errors)),
        "geometric_psnr": math.prod(psnrs) ** (1 / len(psnrs)),
    }


def random_pairs(count: int, seed: int, *, sides: tuple[int, int] = (1, 9)) -> Pairs:
    rng = np.random.default_rng(seed)
    shapes = rng.integers(*sides, size=(count, 2))
    return [(rng.random((h, w, 3)), rng.random((h, w, 3))) for h, w in shapes]


def add_all(metrics: ColorMetrics, pairs: Pairs, first: int = 0) -> ColorMetrics:
    for number, (truth, prediction) in enumerate(pairs, start=first):
        metrics.add(truth, prediction, str(number))
    return metrics


def test_against_naive_loops() -> None:
    # Images of different sizes: RMSE weighs pixels, PSNR weighs images.
    pairs = random_pairs(5, 0)
    metrics = ColorMetrics()
    for number, (truth, prediction) in enumerate(pairs):
        scores = metrics.add(truth, prediction, str(number))
        for name, value in naive([(truth, prediction)]).items():
            assert getattr(scores, name) == pytest.approx(value, rel=1e-12)
    total = metrics.scores()
    for name, value in naive(pairs).items():
        assert getattr(total, name) == pytest.approx(value, rel=1e-12)
    assert metrics.images == 5 and metrics.limited_images == 0
    assert total.auc is None and total.ssim is None


def test_rmse_is_the_mean_of_the_norms() -> None:
    # One pixel is right, one has an alpha-beta error of 0.3/0.3001 in beta only: the mean of the
    # norms is half of it; the root of the mean square is 0.707 of it, and named so.
    truth = np.array([[[0.3, 0.3, 0.3], [0.45, 0.15, 0.3]]])
    scores = ColorMetrics(0).add(truth, np.full((1, 2, 3), 0.3))
    assert scores.rmse == pytest.approx(0.5 * 0.3 / 0.3001)
    assert scores.root_mean_square == pytest.approx(math.sqrt(0.5) * 0.3 / 0.3001)


def test_psnr_literals() -> None:
    # An error of 0.1 in every channel is 20 dB, one of 0.01 is 40 dB.
    metrics = ColorMetrics(0)
    assert metrics.add(np.full((4, 4, 3), 0.5), np.full((4, 4, 3), 0.6)).psnr == pytest.approx(20)
    metrics.add(np.full((2, 9, 3), 0.5), np.full((2, 9, 3), 0.51))
    scores = metrics.scores()
    assert scores.psnr == pytest.approx(30)
    assert scores.geometric_psnr == pytest.approx(math.sqrt(800))


def test_largest_and_zero_psnr() -> None:
    image = np.random.default_rng(1).random((5, 4, 3), dtype=np.float32)
    metrics = ColorMetrics()
    scores = metrics.add(image, image, "exact")
    assert scores.rmse == 0 and scores.psnr == pytest.approx(58.9226, abs=5e-5)
    assert scores.geometric_psnr == pytest.approx(scores.psnr)
    black, white = np.zeros((1, 1, 3)), np.ones((1, 1, 3))
    worst = metrics.add(white, black, "worst")
    assert math.copysign(1, worst.psnr) == 1 and worst.psnr == worst.geometric_psnr == 0
    total = metrics.scores()
    assert total.psnr == pytest.approx(58.9226 / 2, abs=5e-5) and total.geometric_psnr == 0
    assert metrics.limited_images == 1
    assert metrics.psnr_histogram[[0, 117]].tolist() == [1, 1]
    # Values beyond [0, 1] by float rounding are accepted, and make no negative PSNR.
    beyond = ColorMetrics(0).add(white + 9e-6, black - 9e-6)
    assert beyond.psnr == 0


def test_largest_psnr_is_that_of_rounding_to_8_bit() -> None:
    values = np.random.default_rng(3).random((300, 300, 3))
    rounded = np.rint(values * 255) / 255
    square = np.mean((values - rounded) ** 2)
    # Of 270,000 values the mean of the squares is known to 0.2 %, or 0.007 dB.
    assert -10 * math.log10(square) == pytest.approx(PSNR_LIMIT, abs=0.03)


def test_intervals_with_exact_predictions_are_finite() -> None:
    rng = np.random.default_rng(2)
    metrics = ColorMetrics(200)
    for number in range(30):
        image = rng.random((2, 2, 3))
        metrics.add(image, image if number == 0 else 1 - image, str(number))
    interval = metrics.intervals()["psnr"]
    assert 0 < interval.low < metrics.scores().psnr < interval.high < PSNR_LIMIT
    assert paired_differences(metrics, metrics)["psnr"].value == 0


def test_float32_agrees_with_float64() -> None:
    rng = np.random.default_rng(2)
    truth, prediction = rng.random((100, 120, 3)), rng.random((100, 120, 3))
    double = ColorMetrics(0, extras=True).add(truth, prediction)
    single = ColorMetrics(0, extras=True).add(
        truth.astype(np.float32), prediction.astype(np.float32)
    )
    for name, value in double.to_dict().items():
        # Pixels of float32 are off by 6e-8, and a near class border may change its class.
        assert getattr(single, name) == pytest.approx(value, rel=1e-4)


def test_error_histogram() -> None:
    pairs = random_pairs(6, 3)
    metrics = add_all(ColorMetrics(0), pairs)
    errors = np.concatenate([naive_errors(*pair)[0] for pair in pairs])
    edges = np.arange(len(metrics.error_histogram) + 1) * ERROR_BIN_WIDTH
    np.testing.assert_array_equal(metrics.error_histogram, np.histogram(errors, edges)[0])
    # Red and green are the farthest colours, 6 up to epsilon: nothing falls off the end.
    red, green = np.eye(3)[0].reshape(1, 1, 3), np.eye(3)[1].reshape(1, 1, 3)
    farthest = ColorMetrics(0)
    assert 5.99 < farthest.add(red, green).rmse < 6
    assert farthest.error_histogram[-1] == 1


def test_psnr_histogram() -> None:
    metrics = ColorMetrics(0)
    for error in (0.1, 0.1, 0.3, 1e-7):
        metrics.add(np.full((1, 1, 3), 0.5), np.full((1, 1, 3), 0.5 + error))
    # 20 dB (up to rounding) twice, 10.46 dB, and 140 dB that count as 58.92.
    assert metrics.psnr_histogram[39:41].sum() == 2
    assert metrics.psnr_histogram[20] == 1 and metrics.psnr_histogram[117] == 1


def test_auc_is_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(4)
    truth, prediction = rng.random((30, 40, 3)), rng.random((30, 40, 3))
    found = measure_errors(Truth(truth), prediction, extras=True)
    error = np.linalg.norm(rgb2lab(truth)[..., 1:] - rgb2lab(prediction)[..., 1:], axis=-1)
    assert error.max() > 100
    thresholds = np.linspace(0, 150, 150_001)
    share = np.searchsorted(np.sort(error.ravel()), thresholds, side="right") / error.size
    # The integral by the trapezoidal rule, in steps of 0.001: steps of the curve may be off by one.
    area = np.trapezoid(share, thresholds) / 150
    assert found.sums["auc"] / error.size == pytest.approx(area, abs=1e-5)


def test_class_balanced_auc_literal() -> None:
    # Three pixels of one colour, of which the predictions are off by 30 in a, 0 and 0, and one of
    # another, off by 15: class means of 1 - 10/150 and 1 - 15/150.
    lab = np.array([[[60, 20, 20], [60, 20, 20], [60, 20, 20], [50, -20, 10]]], float)
    predicted = lab + np.array([[[0, -30, 0], [0, 0, 0], [0, 0, 0], [0, 0, 15]]])
    scores = ColorMetrics(0, extras=True).add(lab2rgb(lab), lab2rgb(predicted))
    assert scores.auc == pytest.approx(1 - 45 / 4 / 150, abs=1e-6)
    assert scores.balanced_auc == pytest.approx(1 - 12.5 / 150, abs=1e-6)


def test_classes_hold_every_color() -> None:
    grid = np.linspace(0, 1, 12)
    cube = np.stack(np.meshgrid(grid, grid, grid), axis=-1).reshape(36, 48, 3)
    found = measure_errors(Truth(cube), cube, extras=True)
    assert found.class_pixels is not None and found.class_credit is not None
    assert found.class_pixels.sum() == cube.size // 3
    assert 150 < np.count_nonzero(found.class_pixels) < 313 < COLOR_CLASSES
    np.testing.assert_array_equal(found.class_credit, found.class_pixels << 20)


def test_colorfulness_literals() -> None:
    assert colorfulness(np.full((3, 3, 3), 0.4)) == 0
    # Uniform red: rg = 255, yb = 127.5, no spread.
    red = np.zeros((2, 2, 3))
    red[..., 0] = 1
    assert colorfulness(red) == pytest.approx(0.3 * 255 * math.hypot(1, 0.5))
    # Red and green in equal parts: the signed rg cancels in the mean, its absolute value would not.
    half = red.copy()
    half[0] = (0, 1, 0)
    assert colorfulness(half) == pytest.approx(255 + 0.3 * 127.5)


def test_ssim_against_the_formula() -> None:
    rng = np.random.default_rng(5)
    truth = rng.random((24, 31, 3))
    prediction = np.clip(truth + rng.normal(0, 0.1, truth.shape), 0, 1)
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def blur(plane: np.ndarray) -> np.ndarray:
        columns = scipy.ndimage.convolve1d(plane, window, axis=0)
        return scipy.ndimage.convolve1d(columns, window, axis=1)[5:-5, 5:-5]

    values = []
    for x, y in zip(np.moveaxis(truth, -1, 0), np.moveaxis(prediction, -1, 0), strict=True):
        mx, my = blur(x), blur(y)
        vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
        ratio = (2 * mx * my + 0.01**2) * (2 * cov + 0.03**2)
        values.append((ratio / ((mx**2 + my**2 + 0.01**2) * (vx + vy + 0.03**2))).mean())
    assert structural_similarity_of(truth, prediction) == pytest.approx(np.mean(values), rel=1e-9)


def test_small_images_have_no_ssim() -> None:
    metrics = ColorMetrics(extras=True)
    small = np.random.default_rng(6).random((10, 30, 3))
    assert math.isnan(metrics.add(small, small, "small").ssim or 0)
    large = np.random.default_rng(7).random((11, 30, 3))
    assert metrics.add(large, large, "large").ssim == pytest.approx(1)
    assert metrics.scores().ssim == pytest.approx(1)


def test_means_of_the_extras() -> None:
    pairs = random_pairs(4, 8, sides=(11, 20))
    metrics = add_all(ColorMetrics(0, extras=True), pairs)
    scores = metrics.scores()
    ssim = [structural_similarity_of(*pair) for pair in pairs]
    assert scores.ssim == pytest.approx(np.mean(ssim))
    assert scores.colorfulness == pytest.approx(np.mean([colorfulness(p) for _, p in pairs]))
    assert scores.truth_colorfulness == pytest.approx(np.mean([colorfulness(t) for t, _ in pairs]))
    sizes = [truth.size for truth, _ in pairs]
    aucs = [ColorMetrics(0, extras=True).add(*pair).auc for pair in pairs]
    assert scores.auc == pytest.approx(np.average(aucs, weights=sizes))  # over pixels


@pytest.mark.parametrize("seed", range(4))
def test_merging_parts_equals_one_pass(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = random_pairs(24, seed, sides=(9, 14))
    pairs[3] = (pairs[3][0], pairs[3][0])  # an exact one among them
    # Errors of very different size, on which float sums would depend on the order.
    pairs[5] = (pairs[5][0], np.clip(pairs[5][0] + 1e-9, 0, 1))
    whole = add_all(ColorMetrics(50, seed, extras=True), pairs)
    owners = rng.integers(0, 4, size=len(pairs))
    merged = ColorMetrics(50, seed, extras=True)
    for part in rng.permutation(4):
        metrics = ColorMetrics(50, seed, extras=True)
        for number in rng.permutation(np.flatnonzero(owners == part)):
            metrics.add(*pairs[number], str(number))
        state = json.loads(json.dumps(metrics.to_dict(), allow_nan=False))
        merged.merge(ColorMetrics.from_dict(state))
    for found, expected in (
        (vars(merged.scores()), vars(whole.scores())),
        *(
            (vars(merged.intervals()[name]), vars(value))
            for name, value in whole.intervals().items()
        ),
    ):
        assert found == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(merged.error_histogram, whole.error_histogram)
    np.testing.assert_array_equal(merged.psnr_histogram, whole.psnr_histogram)
    assert merged.images == 24 and merged.limited_images == 2


def test_intervals_are_those_of_weighted_sums() -> None:
    pairs = random_pairs(12, 17)
    metrics = add_all(ColorMetrics(40, 5), pairs)
    weights = np.stack([poisson_weights(str(number), 40, 5) for number in range(12)])
    measured = [measure_errors(Truth(truth), prediction).sums for truth, prediction in pairs]
    errors, pixels = (np.array([sums[name] for sums in measured]) for name in ("error", "pixels"))
    low, high = np.quantile((errors @ weights) / (pixels @ weights), [0.025, 0.975])
    found = metrics.intervals()["rmse"]
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)


def test_one_image_is_its_own_mean() -> None:
    metrics = ColorMetrics(0, extras=True)
    ((truth, prediction),) = random_pairs(1, 9, sides=(11, 20))
    assert metrics.add(truth, prediction) == metrics.scores()


def test_measurements_survive_json() -> None:
    ((truth, prediction),) = random_pairs(1, 10, sides=(11, 20))
    for extras in (False, True):
        found = measure_errors(Truth(truth), prediction, extras=extras)
        again = Measurement.from_dict(json.loads(json.dumps(found.to_dict())))
        first, second = ColorMetrics(9, extras=extras), ColorMetrics(9, extras=extras)
        first.add_measurement(found, "key")
        second.add_measurement(again, "key")
        assert first.to_dict() == second.to_dict()


def one_pixel(value: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a pair whose alpha-beta error is almost `value`, up to 1."""
    truth = np.array([[[0.3 * (1 + value / 2), 0.3 * (1 - value / 2), 0.3]]])
    return truth, np.full((1, 1, 3), 0.3)


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    """Of 300 samples of 60 images, 95 % intervals hold the population's mean in about 95 %."""
    rng = np.random.default_rng(11)
    trials, images = 300, 60
    mean = 2 / (2 + 3) * 0.3 / 0.3001  # of Beta(2, 3), with Eq. 9's epsilon
    held = 0
    for trial in range(trials):
        metrics = ColorMetrics(300, seed=trial)
        for number, value in enumerate(rng.beta(2, 3, size=images)):
            metrics.add(*one_pixel(value), str(number))
        interval = metrics.intervals()["rmse"]
        held += interval.low <= mean <= interval.high
    # Percentile intervals of 60 values cover about 94 %: sqrt(59/60) narrower than with Student's
    # t at 59 degrees. The binomial standard error of 300 trials is 1.3 %; 3.5 of them.
    assert 0.895 <= held / trials <= 0.985


def test_paired_differences() -> None:
    rng = np.random.default_rng(12)
    ours, theirs = ColorMetrics(2000), ColorMetrics(2000)
    values = rng.beta(2, 3, size=200)
    gains = rng.normal(0.02, 0.01, size=200)
    for number, value in enumerate(values):
        theirs.add(*one_pixel(0.2 + 0.6 * value), str(number))
    # In another order: the key alone decides the weights.
    for number in rng.permutation(200):
        ours.add(*one_pixel(0.2 + 0.6 * values[number] - gains[number]), str(number))
    found = paired_differences(ours, theirs)["rmse"]
    assert found.value == ours.scores().rmse - theirs.scores().rmse
    # The difference is known as if only the gains varied: standard error 0.01/sqrt(200), while
    # each mean alone has 0.12/sqrt(200). Quantiles of 2000 replicates are within 6 %.
    error = gains.std() / math.sqrt(200)
    low, high = -gains.mean() - 1.96 * error, -gains.mean() + 1.96 * error
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.25 * error)
    interval = ours.intervals()["rmse"]
    assert interval.high - interval.low > 8 * (found.high - found.low)
    assert paired_differences(ours, ours)["psnr"].value == 0


def test_other_images_cannot_be_paired() -> None:
    pairs = random_pairs(3, 13)
    ours, theirs = add_all(ColorMetrics(), pairs), add_all(ColorMetrics(), pairs, first=1)
    with pytest.raises(ValueError, match="expected the same images, 3, got 3 that"):
        paired_differences(ours, theirs)
    for other in (ColorMetrics(500), ColorMetrics(seed=1), ColorMetrics(extras=True)):
        with pytest.raises(ValueError, match="baseline: expected"):
            paired_differences(ours, add_all(other, pairs))
        with pytest.raises(ValueError, match="other: expected"):
            ours.merge(other)


@pytest.mark.slow
def test_memory_is_constant() -> None:
    """After the first 1,000 images, 19,000 more take no memory."""
    rng = np.random.default_rng(14)
    pairs = [(rng.random((2, 2, 3)), rng.random((2, 2, 3))) for _ in range(50)]
    metrics = ColorMetrics()
    tracemalloc.start()
    try:
        for number in range(1_000):
            metrics.add(*pairs[number % 50], str(number))
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for number in range(1_000, 20_000):
            metrics.add(*pairs[number % 50], str(number))
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert metrics.images == 20_000
    # One number kept for each image would be 19,000 times 24 bytes at least. While an image is
    # added, its weights and their products take 0.3 MB.
    assert after - before < 20_000
    assert peak - before < 1_000_000


@pytest.mark.slow
@pytest.mark.alone
def test_time_per_megapixel() -> None:
    """Print what scoring costs beside the same numbers in a few lines of numpy."""
    rng = np.random.default_rng(15)
    truth = rng.random((1000, 1000, 3), dtype=np.float32)
    prediction = rng.random((1000, 1000, 3), dtype=np.float32)

    def plain() -> None:
        difference = rgb_to_alpha_beta(truth) - rgb_to_alpha_beta(prediction)
        np.linalg.norm(difference, axis=-1).mean()
        np.log10(np.mean((truth - prediction) ** 2))

    def best(function: Callable[[], object]) -> float:
        times = []
        for _ in range(3):
            start = time.process_time()  # other processes' time does not count
            function()
            times.append(time.process_time() - start)
        return min(times)

    metrics, extras = ColorMetrics(), ColorMetrics(extras=True)
    seconds = {
        "plain numpy": best(plain),
        "ColorMetrics": best(lambda: metrics.add(truth, prediction, "key")),
        "with extras": best(lambda: extras.add(truth, prediction, "key")),
    }
    print({name: f"{1000 * value:.0f} ms a megapixel" for name, value in seconds.items()})
    # Histogram and bootstrap come on top, but not as a multiple; 3 leaves room for a busy machine.
    assert seconds["ColorMetrics"] < 3 * seconds["plain numpy"]


def test_wrong_arguments() -> None:
    metrics = ColorMetrics()
    with pytest.raises(ValueError, match="expected at least one image"):
        metrics.scores()
    with pytest.raises(ValueError, match="expected at least one image"):
        metrics.intervals()
    with pytest.raises(ValueError, match=r"prediction: expected shape \(2, 2, 3\)"):
        metrics.add(np.zeros((2, 2, 3)), np.zeros((2, 3, 3)), "key")
    with pytest.raises(ValueError, match="rgb: expected finite values"):
        metrics.add(np.zeros((2, 2, 3)), np.full((2, 2, 3), 255.0), "key")
    with pytest.raises(ValueError, match=r"truth: expected shape \(H, W, 3\)"):
        metrics.add(np.zeros((0, 2, 3)), np.zeros((0, 2, 3)), "key")
    with pytest.raises(ValueError, match="key: expected the image's name"):
        metrics.add(np.zeros((2, 2, 3)), np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="measurement: expected extras=False"):
        metrics.add_measurement(
            measure_errors(Truth(np.zeros((2, 2, 3))), np.zeros((2, 2, 3)), extras=True), "key"
        )
    with pytest.raises(ValueError, match="other: expected the metrics of other images"):
        metrics.merge(metrics)
    assert metrics.images == 0
    with pytest.raises(ValueError, match="replicates: expected at least 0"):
        ColorMetrics(-1)
    without = add_all(ColorMetrics(0), random_pairs(2, 16))
    with pytest.raises(ValueError, match="expected a bootstrap of at least 1, got 0"):
        without.intervals()
    with pytest.raises(ValueError, match="state: expected that of ColorMetrics"):
        ColorMetrics.from_dict({"replicates": 5})
    assert Scores(0.3, 24.0).to_dict() == {"rmse": 0.3, "psnr": 24.0}
