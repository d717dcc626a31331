"""Histogram inference: hand-made histograms, naive references, wrap-around, degenerate rows."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest

from autocolor.color import lightness, rgb_to_hue_chroma
from autocolor.histogram import quantile_edges, uniform_centers, uniform_edges
from autocolor.inference import (
    CHROMA_METHODS,
    HUE_METHODS,
    decode_hue_chroma,
    expectation,
    expectation_hue,
    fade_chroma,
    infer_hue_chroma,
    median,
    mode,
)

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
    assert median(row, edges, interpolate=False) == pytest.approx(0.375)


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


@pytest.mark.parametrize("interpolate", [True, False])
def test_median_of_one_hot_is_the_center(interpolate: bool) -> None:
    values = median(np.eye(32), uniform_edges(32), interpolate=interpolate)
    np.testing.assert_allclose(values, uniform_centers(32))


@pytest.mark.parametrize("interpolate", [True, False])
@pytest.mark.parametrize("total", [1 - 1e-6, 0.5 - 1e-6, 0.4, 1e-30, 1 + 1e-6])
def test_median_of_rows_with_another_sum(total: float, interpolate: bool) -> None:
    row = np.full((3, 32), total / 32, np.float32)
    values = median(row, uniform_edges(32), interpolate=interpolate)
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


# ---- everything together


@pytest.mark.parametrize("hue", HUE_METHODS)
@pytest.mark.parametrize("chroma", CHROMA_METHODS)
def test_one_hot_in_gives_that_colour_out(hue: str, chroma: str) -> None:
    # Hue bin 10 is 0.328125; chroma bin 9 is 0.296875; fits the gamut at lightness 0.4.
    rgb = decode_hue_chroma(
        one_hot(10)[None], one_hot(9)[None], np.array([0.4]), hue=hue, chroma=chroma
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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decode_hue_chroma(*GOOD, hue="median"), "hue: .*expectation, mode.*'median'"),
        (lambda: decode_hue_chroma(*GOOD, chroma="x"), "chroma: expected one of median.*'x'"),
        (lambda: decode_hue_chroma(*GOOD, strength=-1), "strength: .*received -1"),
        (lambda: decode_hue_chroma(*GOOD, strength=math.nan), "strength: .*nan"),
        (lambda: decode_hue_chroma(*GOOD[:2], np.full(3, 0.5)), r"lightness: .*\(2,\).*\(3,\)"),
        (lambda: decode_hue_chroma(-GOOD[0], *GOOD[1:]), "hue_histogram: .*-0.03125"),
        (lambda: decode_hue_chroma(GOOD[0], GOOD[1] * np.nan, GOOD[2]), "chroma_histogram: .*nan"),
        (lambda: decode_hue_chroma(GOOD[0], GOOD[1][:1], GOOD[2]), "chroma_histogram: .*shape"),
        (lambda: median(GOOD[0], uniform_edges(31)), r"edges: .*\(\.\.\., 33\).*\(32,\)"),
        (lambda: median(GOOD[0], quantile_edges(32)), "edges: expected finite"),
        (lambda: mode(GOOD[0], uniform_centers(31)), r"centers: .*\(\.\.\., 32\)"),
    ],
)
def test_wrong_arguments(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()
