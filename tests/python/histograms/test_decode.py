"""Histogram inference: hand-made histograms, naive references, wrap-around, degenerate rows."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
from scipy.stats import chisquare

from autocolor.core.variants import VARIANTS
from autocolor.histograms.bins import (
    finite_quantile_edges,
    quantile_centroids,
    uniform_centers,
    uniform_edges,
)
from autocolor.histograms.decode import (
    HUE_METHODS,
    METHODS,
    VIVID_GAIN,
    DecodeOptions,
    decode,
    default_look,
    infer_ab_joint,
    infer_ab_marginal,
    infer_hue_chroma,
)
from autocolor.histograms.estimators import (
    VIVID_UNSURE,
    draw_uniforms,
    expectation,
    expectation_hue,
    fade_chroma,
    fade_unsure,
    median,
    mode,
)
from autocolor.histograms.prediction import Prediction
from autocolor.imaging.color import compose_lab, compose_rgb, lightness, rgb_to_hue_chroma
from autocolor.imaging.images import to_uint8

HISTOGRAM_VARIANTS = [name for name, variant in VARIANTS.items() if variant.is_histogram]


def decode_hue_chroma(
    hue_histogram, chroma_histogram, light, hue="expectation", chroma=None, fading=True, **rest
) -> np.ndarray:
    options = DecodeOptions(chroma, hue, fading)
    return decode("hue_chroma", (hue_histogram, chroma_histogram), light, options, **rest)


DTYPES = (np.float32, np.float64)


def random_histograms(
    shape: tuple[int, ...], dtype: type = np.float64, seed: int = 0
) -> np.ndarray:
    rows = np.random.default_rng(seed).gamma(0.3, size=shape)
    return (rows / rows.sum(axis=-1, keepdims=True)).astype(dtype)


def one_hot(index: int, bins: int = 32) -> np.ndarray:
    return np.eye(bins)[index]


# ---- hue


def test_expectation_hue_literal() -> None:
    # K = 4: angles 45, 135, 225 and 315 degrees; half 45, half 135 gives 90 degrees, and
    # abs(z) = cos(45 degrees) / 4.
    hue, magnitude = expectation_hue(np.array([0.5, 0.5, 0, 0]))
    assert hue == pytest.approx(0.25)
    assert magnitude == pytest.approx(math.sqrt(0.5) / 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_expectation_hue_against_complex_arithmetic(dtype: type) -> None:
    rows = random_histograms((40, 32), dtype)
    hue, magnitude = expectation_hue(rows)
    assert hue.dtype == magnitude.dtype == dtype
    for row, h, size in zip(rows, hue, magnitude, strict=True):
        z = sum(p * cmath.exp(2j * math.pi * (k + 0.5) / 32) for k, p in enumerate(row)) / 32
        assert size == pytest.approx(abs(z), abs=1e-7)
        assert h == pytest.approx(cmath.phase(z) / (2 * math.pi) % 1, abs=1e-5)


def test_hue_wraps_around() -> None:
    # Bins 0 and 31 meet at hue 0: a plain mean would say cyan, 0.5.
    hue, _ = expectation_hue((one_hot(0) + one_hot(31)) / 2)
    assert min(hue, 1 - hue) < 1e-12
    assert 0 <= hue < 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_hue_stays_below_one(dtype: type) -> None:
    # Nudging the two bins about hue 0 gives angles of either sign, down to rounding errors.
    nudges = np.concatenate([[0], np.logspace(-18, -1, 200)])
    rows = np.zeros((len(nudges), 32), dtype)
    rows[:, 0], rows[:, 31] = 0.5 - nudges, 0.5 + nudges
    hue, _ = expectation_hue(rows)
    assert (hue >= 0).all() and (hue < 1).all()


def test_one_hot_hue_is_its_center() -> None:
    hue, magnitude = expectation_hue(np.eye(32))
    np.testing.assert_allclose(hue, uniform_centers(32))
    np.testing.assert_allclose(magnitude, 1 / 32)


# ---- fading


def test_fading_literal() -> None:
    chroma = np.array([0.4, 0.4, 0.4])
    faded = fade_chroma(chroma, np.array([0.0, 0.015, 0.03125]))
    np.testing.assert_allclose(faded, [0, 0.2, 0.4])


def test_fading_does_not_depend_on_the_number_of_bins() -> None:
    # The same two-colour distribution, binned in 32 and in 64 bins that share its colours' centres
    # up to half a bin: the resultant length z K is compared with 0.96 either way.
    for bins in (32, 64):
        row = (one_hot(0, bins) + one_hot(bins // 4, bins)) / 2
        _, magnitude = expectation_hue(row)
        faded = fade_chroma(np.array(1.0), magnitude, bins)
        assert faded == pytest.approx(math.sqrt(0.5) / 0.96)


def test_uniform_hue_fades_to_grey() -> None:
    rows = np.full((1, 32), 1 / 32, np.float32)
    rgb = decode_hue_chroma(rows, one_hot(20).astype(np.float32)[None], np.float32([0.5]))
    np.testing.assert_allclose(rgb, 0.5, atol=1e-6)
    unfaded = decode_hue_chroma(
        rows, one_hot(20).astype(np.float32)[None], np.float32([0.5]), fading=False
    )
    assert np.ptp(unfaded) > 0.5


# ---- chroma


def test_median_literal() -> None:
    edges = uniform_edges(4)
    # 0.2 below bin 1; 0.3 of its 0.4 are missing to one half: 0.25 + 0.75 * 0.25.
    row = np.array([0.2, 0.4, 0.1, 0.3])
    assert median(row, edges) == pytest.approx(0.4375)


@pytest.mark.parametrize("dtype", DTYPES)
def test_median_against_interpolation_of_the_distribution(dtype: type) -> None:
    rows = random_histograms((200, 32), dtype, seed=4) + dtype(1e-6)
    edges = uniform_edges(32)
    values = median(rows, edges)
    assert values.dtype == dtype
    for row, value in zip(rows.astype(np.float64), values, strict=True):
        distribution = np.concatenate([[0], np.cumsum(row)])
        expected = np.interp(distribution[-1] / 2, distribution, edges)
        # float32: where a bin holds 1e-6, a rounding of the sum moves the median a good part
        # of its width; on the scale of mass it is exact to rounding.
        mass = np.interp(float(value), edges, distribution)
        assert mass == pytest.approx(distribution[-1] / 2, abs=1e-6)
        if dtype is np.float64:
            assert value == pytest.approx(expected, abs=1e-9)


def test_median_of_one_hot_is_the_center() -> None:
    values = median(np.eye(32), uniform_edges(32))
    np.testing.assert_allclose(values, uniform_centers(32))


@pytest.mark.parametrize("total", [1 - 1e-6, 0.5 - 1e-6, 0.4, 1e-30, 1 + 1e-6])
def test_median_of_rows_with_another_sum(total: float) -> None:
    row = np.full((3, 32), total / 32, np.float32)
    values = median(row, uniform_edges(32))
    np.testing.assert_allclose(values, 0.5, atol=1 / 64 + 1e-6)


def test_median_of_an_empty_row_is_finite() -> None:
    assert median(np.zeros(32), uniform_edges(32)) == 1 / 64


def test_median_between_two_separate_bins() -> None:
    # Half the mass below, half above a gap: the upper edge of the lower bin.
    assert median(np.array([0, 0.5, 0, 0.5]), uniform_edges(4)) == 0.5


def test_expectation_and_mode_literal() -> None:
    centers = uniform_centers(4)
    row = np.array([0.4, 0.1, 0.1, 0.4])
    assert expectation(row, centers) == pytest.approx(0.5)
    assert mode(row, centers) == 0.125


@pytest.mark.parametrize("method", [expectation, mode])
def test_one_hot_gives_the_center(method) -> None:  # type: ignore[no-untyped-def]
    np.testing.assert_allclose(method(np.eye(8), uniform_centers(8)), uniform_centers(8))


# ---- the vivid look


def test_vivid_fading_literal() -> None:
    # 0 up to 1/4 of the largest magnitude, 1/32; half-way between 1/4 and 1 it is 1/2.
    magnitude = np.array([0, 0.25, 0.625, 1]) / 32
    faded = fade_unsure(np.full(4, 0.8), magnitude)
    np.testing.assert_allclose(faded, [0, 0, 0.4, 0.8], atol=1e-12)
    assert fade_unsure(np.float32([0.5]), np.float32([0.02])).dtype == np.float32


@pytest.mark.parametrize("bins", [4, 32])
def test_vivid_fading_rises_with_certainty(bins: int) -> None:
    faded = fade_unsure(np.ones(101), np.linspace(0, 1 / bins, 101), bins)
    assert (np.diff(faded) >= 0).all()
    np.testing.assert_allclose(faded, 1 - fade_unsure_from_above(bins), atol=1e-12)


def fade_unsure_from_above(bins: int) -> np.ndarray:
    """1 - 3t² + 2t³ by its own polynomial, with t clipped after the fact."""
    part = (np.linspace(0, 1 / bins, 101) * bins - VIVID_UNSURE) / (1 - VIVID_UNSURE)
    return np.where(part <= 0, 1.0, 1 - 3 * part**2 + 2 * part**3)


def test_vivid_is_livelier_where_the_hue_is_sure_and_grey_where_it_is_not() -> None:
    light = np.array([0.4, 0.4])
    hue = np.stack([one_hot(10), np.full(32, 1 / 32)])
    chroma = np.stack([one_hot(9), one_hot(9)])
    prediction = Prediction("hue_chroma", light[None], (hue[None], chroma[None]), (1, 1), 0.5)
    found = rgb_to_hue_chroma(prediction.colorize(look="vivid"))[1][0]
    # The mean chroma of the one-hot histogram is the bin's middle; the model's strength counts, too.
    np.testing.assert_allclose(found, [0.5 * VIVID_GAIN * 9.5 / 32, 0], atol=1e-6)
    once = rgb_to_hue_chroma(prediction.colorize(look="vivid", strength=1 / VIVID_GAIN))[1][0]
    np.testing.assert_allclose(once, [9.5 / 32, 0], atol=1e-6)


def test_vivid_takes_the_expectation_unless_a_method_is_given() -> None:
    options = DecodeOptions(look="vivid")
    assert options.methods("hue_chroma") == ("expectation", "expectation")
    assert DecodeOptions("median", look="vivid").methods("hue_chroma")[0] == "median"
    assert [default_look(name) for name in VARIANTS] == ["vivid", *["faithful"] * 3]


# ---- everything together


@pytest.mark.parametrize("hue", HUE_METHODS)
@pytest.mark.parametrize("chroma", METHODS)
def test_one_hot_in_gives_that_colour_out(hue: str, chroma: str) -> None:
    # Hue bin 10 is 0.328125; chroma bin 9 is 0.296875; fits the gamut at lightness 0.4.
    rgb = decode_hue_chroma(
        one_hot(10)[None],
        one_hot(9)[None],
        np.array([0.4]),
        hue=hue,
        chroma=chroma,
        uniforms=np.array([0.5, 0.5]),  # the middle of the bin
    )
    assert rgb.dtype == np.float32
    got_hue, got_chroma = rgb_to_hue_chroma(rgb)
    assert got_hue[0] == pytest.approx(10.5 / 32, abs=1e-5)
    assert got_chroma[0] == pytest.approx(9.5 / 32, abs=1e-6)
    assert lightness(rgb)[0] == pytest.approx(0.4, abs=1e-6)


def test_decoding_keeps_lightness_and_gamut() -> None:
    hue, chroma = random_histograms((50, 60, 32), np.float32), random_histograms((50, 60, 32))
    light = np.linspace(0, 1, 3000, dtype=np.float32).reshape(50, 60)
    rgb = decode_hue_chroma(hue, chroma.astype(np.float32), light, strength=2.0)
    assert np.isfinite(rgb).all() and rgb.min() >= 0 and rgb.max() <= 1
    np.testing.assert_allclose(lightness(rgb), light, atol=1e-6)


def test_strength_scales_the_chroma() -> None:
    arguments = (one_hot(3)[None], one_hot(4)[None], np.array([0.5]))
    chroma = [
        float(rgb_to_hue_chroma(decode_hue_chroma(*arguments, strength=strength))[1][0])
        for strength in (0, 1, 2)
    ]
    assert chroma == pytest.approx([0, 4.5 / 32, 9 / 32], abs=1e-6)


def test_any_layout_gives_the_same() -> None:
    hue, chroma = random_histograms((6, 7, 32)), random_histograms((6, 7, 32), seed=1)
    first = infer_hue_chroma(hue, chroma)
    planes = [np.moveaxis(np.moveaxis(rows, -1, 0).copy(), 0, -1) for rows in (hue, chroma)]
    for left, right in zip(first, infer_hue_chroma(*planes), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-12)


GOOD = (np.full((2, 32), 1 / 32), np.full((2, 32), 1 / 32), np.full(2, 0.5))


# ---- samples


SHARED = np.array([0.3, 0.8])


def test_sampled_hue_and_chroma_literal() -> None:
    hue = np.array([[0.5, 0.5, 0, 0]])
    chroma = np.array([[0.2, 0.4, 0.1, 0.3]])
    options = {"hue": "sample", "chroma": "sample", "fading": False}
    # Hue: 0.3 of 0.5 into bin 0; chroma: 0.1 of 0.3 into bin 3.
    for uniforms in (SHARED, SHARED[None]):
        values = infer_hue_chroma(hue, chroma, uniforms=uniforms, **options)  # type: ignore[arg-type]
        assert values == (pytest.approx(0.15), pytest.approx(0.75 + 0.25 / 3))


def test_hue_drawn_at_its_upper_end_wraps() -> None:
    rows = one_hot(31)[None].astype(np.float32)
    hue, _ = infer_hue_chroma(rows, rows, hue="sample", uniforms=np.array([1.0, 1.0]))
    assert hue == 0


def test_one_number_for_the_image_gives_an_image_without_noise() -> None:
    rows = np.broadcast_to(random_histograms((1, 1, 256)), (5, 6, 256))
    ab = infer_ab_joint(rows, method="sample", uniforms=SHARED)
    assert (ab == ab[0, 0]).all()
    own = np.random.default_rng(0).random((5, 6, 2))
    assert len(np.unique(infer_ab_joint(rows, method="sample", uniforms=own)[..., 0])) == 30


def test_joint_samples_follow_the_joint_histogram() -> None:
    pixels = 40_000
    histogram = np.random.default_rng(4).dirichlet(np.full(16, 2.0))
    uniforms = draw_uniforms(np.random.default_rng(5), (pixels, 2))
    rows = np.broadcast_to(histogram, (pixels, 16))
    ab = infer_ab_joint(rows, method="sample", uniforms=uniforms)
    edges = finite_quantile_edges(4)
    counts, _, _ = np.histogram2d(ab[:, 0], ab[:, 1], [edges, edges])
    # The seeds are fixed; a true sampler passes with probability 0.99.
    assert chisquare(counts.ravel(), pixels * histogram).pvalue > 0.01


# ---- Lab


@pytest.mark.parametrize("bin_b", [0, 5, 31])
@pytest.mark.parametrize("bin_a", [0, 7, 31])
def test_one_hot_gives_the_bins_own_ab(bin_a: int, bin_b: int) -> None:
    centroids, edges = quantile_centroids(32), finite_quantile_edges(32)
    a, b = one_hot(bin_a)[None], one_hot(bin_b)[None]
    joint = one_hot(bin_a * 32 + bin_b, 1024)[None]
    for method in METHODS:
        marginal = infer_ab_marginal(a, b, method=method, uniforms=SHARED)
        np.testing.assert_allclose(
            infer_ab_joint(joint, method=method, uniforms=SHARED), marginal, atol=1e-12
        )
        for value, k, share in zip(marginal[0], (bin_a, bin_b), SHARED, strict=True):
            low, high = edges[k : k + 2]
            if method in ("mode", "expectation"):
                assert value == pytest.approx(centroids[k])
            else:
                part = 0.5 if method == "median" else share
                assert value == pytest.approx(low + part * (high - low))


def test_joint_expectation_and_median_are_the_marginals() -> None:
    joint = random_histograms((30, 64))
    marginals = joint.reshape(30, 8, 8).sum(axis=2), joint.reshape(30, 8, 8).sum(axis=1)
    for method in ("expectation", "median"):
        np.testing.assert_allclose(
            infer_ab_joint(joint, method=method), infer_ab_marginal(*marginals, method=method)
        )


def test_joint_mode_is_not_that_of_the_marginals() -> None:
    # Bin (0, 1) is fullest, but row 1 holds more.
    joint = np.array([[0.0, 0.4, 0.3, 0.3]])
    centroid = quantile_centroids(2)[1]
    np.testing.assert_allclose(infer_ab_joint(joint, method="mode"), [[-centroid, centroid]])
    marginals = np.array([[0.4, 0.6]]), np.array([[0.3, 0.7]])
    np.testing.assert_allclose(infer_ab_marginal(*marginals, method="mode"), [[centroid, centroid]])


# ---- a naive reference of every method of every variant, pixel by pixel


def naive_quantile(row: np.ndarray, edges: np.ndarray, level: float) -> tuple[int, float]:
    target, below, k = level * sum(row), 0.0, 0
    while below + row[k] < target:
        below += row[k]
        k += 1
    return k, edges[k] + (target - below) / row[k] * (edges[k + 1] - edges[k])


def naive_value(
    row: np.ndarray, method: str, edges: np.ndarray, centroids: np.ndarray, uniform: float
) -> float:
    if method == "expectation":
        return sum(p * c for p, c in zip(row, centroids, strict=True))
    if method == "mode":
        return float(centroids[max(range(len(row)), key=lambda k: row[k])])
    return naive_quantile(row, edges, 0.5 if method == "median" else uniform)[1]


def naive_hue_chroma(
    outputs: list[np.ndarray], method: str, uniform: np.ndarray
) -> tuple[float, float]:
    hue_row, chroma_row = outputs
    bins = len(hue_row)
    edges, centers = uniform_edges(bins), uniform_centers(bins)
    z = sum(p * cmath.exp(2j * math.pi * c) for p, c in zip(hue_row, centers, strict=True)) / bins
    hue = cmath.phase(z) / (2 * math.pi) % 1
    if method in ("mode", "sample"):
        hue = naive_value(hue_row, method, edges, centers, uniform[0])
    chroma = naive_value(chroma_row, method, edges, centers, uniform[1])
    return hue, chroma * min(1, abs(z) * bins / 0.96)


def naive_ab(
    variant: str, outputs: list[np.ndarray], method: str, uniform: np.ndarray
) -> list[float]:
    if variant == "lab_marginal":
        bins = len(outputs[0])
        edges, centroids = finite_quantile_edges(bins), quantile_centroids(bins)
        return [
            naive_value(row, method, edges, centroids, u)
            for row, u in zip(outputs, uniform, strict=True)
        ]
    bins = math.isqrt(len(outputs[0]))
    edges, centroids = finite_quantile_edges(bins), quantile_centroids(bins)
    joint = [[float(outputs[0][a * bins + b]) for b in range(bins)] for a in range(bins)]
    if method == "mode":
        _, a, b = max((joint[a][b], -a, -b) for a in range(bins) for b in range(bins))
        return [centroids[-a], centroids[-b]]
    of_a = [sum(row) for row in joint]
    of_b = [sum(column) for column in zip(*joint, strict=True)]
    if method == "sample":
        a, value = naive_quantile(np.array(of_a), edges, uniform[0])
        return [value, naive_quantile(np.array(joint[a]), edges, uniform[1])[1]]
    return [naive_value(np.array(row), method, edges, centroids, 0) for row in (of_a, of_b)]


CHANNELS = {"hue_chroma": (8, 8), "lab_marginal": (8, 8), "lab_joint": (36,), "lab_l2": (2,)}


def random_outputs(variant: str, shape: tuple[int, ...], dtype: type = np.float64) -> list:
    if variant == "lab_l2":
        return [(np.random.default_rng(9).normal(size=(*shape, 2)) * 40).astype(dtype)]
    return [
        random_histograms((*shape, channels), dtype, seed)
        for seed, channels in enumerate(CHANNELS[variant])
    ]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("variant", HISTOGRAM_VARIANTS)
def test_decode_against_pixel_by_pixel(variant: str, method: str) -> None:
    shape = (7, 11)
    outputs = random_outputs(variant, shape)
    light = np.random.default_rng(8).random(shape)
    uniforms = draw_uniforms(np.random.default_rng(7), (*shape, 2))
    rgb = decode(variant, outputs, light, DecodeOptions(method), uniforms=uniforms, strength=0.7)
    for pixel in np.ndindex(shape):
        rows = [output[pixel] for output in outputs]
        level = light[pixel]
        if variant == "hue_chroma":
            hue, chroma = naive_hue_chroma(rows, method, uniforms[pixel])
            expected = compose_rgb(np.array(hue % 1), np.array(0.7 * chroma), np.array(level))
        else:
            ab = naive_ab(variant, rows, method, uniforms[pixel])
            expected = compose_lab(0.7 * np.array(ab), np.array(level))
        # The result is rounded to float32.
        np.testing.assert_allclose(rgb[pixel], expected, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("variant", HISTOGRAM_VARIANTS)
def test_float32_agrees_with_float64(variant: str, method: str) -> None:
    shape = (60, 70)
    # No nearly empty bin, where a rounding of the cumulative sum would be magnified.
    outputs = [rows * 0.8 + 0.2 / rows.shape[-1] for rows in random_outputs(variant, shape)]
    light = np.random.default_rng(8).random(shape)
    uniforms = draw_uniforms(np.random.default_rng(7), (*shape, 2))
    double = decode(variant, outputs, light, DecodeOptions(method), uniforms=uniforms)
    single = decode(
        variant,
        [rows.astype(np.float32) for rows in outputs],
        light.astype(np.float32),
        DecodeOptions(method),
        uniforms=uniforms,
    )
    assert single.dtype == double.dtype == np.float32
    difference = np.abs(single - double).max(axis=-1)
    # Bins hold at least 1/180 of the mass, so that roundings of 1e-7 in a sum grow to a few 1e-5
    # of a bin's width. Where z nearly vanishes, its argument grows them further, and the bin drawn,
    # or the fullest one, is another where two are that near.
    assert np.quantile(difference, 0.995) < 2e-5


@pytest.mark.parametrize("variant", CHANNELS)
def test_lightness_is_the_inputs_whatever_the_histograms(variant: str) -> None:
    # All 256 levels, 40 random histograms each.
    shape = (256, 40)
    light = np.repeat(np.arange(256, dtype=np.float32)[:, None] / np.float32(255), 40, axis=1)
    uniforms = draw_uniforms(np.random.default_rng(7), (*shape, 2))
    outputs = random_outputs(variant, shape, np.float32)
    for method in (None,) if variant == "lab_l2" else METHODS:
        for strength in (1.0, 3.0):
            rgb = decode(
                variant, outputs, light, DecodeOptions(method), strength=strength, uniforms=uniforms
            )
            assert np.isfinite(rgb).all() and rgb.min() >= 0 and rgb.max() <= 1
            # Far below the 1/255 that is asked for: a few roundings.
            np.testing.assert_allclose(lightness(rgb), light, atol=1e-6)
            assert (rgb[0] == 0).all() and (rgb[-1] == 1).all()
            # Three channels, each rounded by at most half a level.
            levels = to_uint8(rgb).astype(np.float64).mean(axis=-1)
            assert np.abs(levels - np.arange(256)[:, None]).max() <= 0.5 + 1e-4


def test_defaults_are_the_papers() -> None:
    light = np.full((3, 4), 0.5)
    for variant in HISTOGRAM_VARIANTS:
        method = VARIANTS[variant].default_method
        outputs = random_outputs(variant, (3, 4))
        np.testing.assert_array_equal(
            decode(variant, outputs, light), decode(variant, outputs, light, DecodeOptions(method))
        )
    hue, chroma = random_outputs("hue_chroma", (3, 4))
    for method, hue_method in (
        ("mode", "mode"),
        ("sample", "sample"),
        ("median", "expectation"),
        ("expectation", "expectation"),
    ):
        np.testing.assert_array_equal(
            decode("hue_chroma", (hue, chroma), light, DecodeOptions(method), uniforms=SHARED),
            decode_hue_chroma(hue, chroma, light, hue=hue_method, chroma=method, uniforms=SHARED),
        )


JOINT = np.full((2, 16), 1 / 16)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decode("lab", GOOD[:2], GOOD[2]), "variant: expected one of .*'lab'"),
        (lambda: DecodeOptions("x"), "method: .*'x'"),
        (
            lambda: DecodeOptions(hue="median"),
            "hue: expected one of expectation, mode, sample, got 'median'",
        ),
        (lambda: DecodeOptions(sampling="tile"), "sampling: expected one of pixel, image"),
        (
            lambda: decode("hue_chroma", GOOD[:2], GOOD[2], DecodeOptions("sample")),
            "uniforms: .*None",
        ),
        (lambda: DecodeOptions("mode").methods("lab_l2"), "predicts colours.*'mode'"),
        (lambda: DecodeOptions(strength=-1), "strength: .*-1"),
        (lambda: DecodeOptions(look="x"), "look: expected one of faithful, vivid, got 'x'"),
        (
            lambda: DecodeOptions(look="vivid").methods("lab_joint"),
            "look: a lab_joint model has one look only, got 'vivid'",
        ),
        (lambda: DecodeOptions(hue="mode").methods("lab_joint"), "predicts no hue.*'mode'"),
        (
            lambda: infer_ab_joint(JOINT, method="sample", uniforms=np.ones((3, 2))),
            r"uniforms: expected shape \(2,\) or \(2, 2\).*\(3, 2\)",
        ),
        (
            lambda: infer_hue_chroma(*GOOD[:2], hue="sample", uniforms=np.array([0.5, 1.5])),
            "uniforms: expected finite values in",
        ),
        (lambda: DecodeOptions(strength=math.nan), "strength: .*nan"),
        (lambda: DecodeOptions(strength=math.inf), "strength: .*inf"),
        (lambda: decode("hue_chroma", GOOD[:2], np.full(3, 0.5)), "lightness: expected shape"),
    ],
)
def test_wrong_arguments_of_decode(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()
