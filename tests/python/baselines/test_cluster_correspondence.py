"""Cluster correspondence: histograms and clusters known by hand, EM and mean shift done naively."""

from __future__ import annotations

import numpy as np
import pytest

from autocolor.baselines.cluster_correspondence import (
    BANDWIDTH,
    BIN_WIDTH,
    Correspondence,
    _climb,
    _fit_mixture,
    alpha_beta_histogram,
    correspond,
    transfer_clusters,
)
from autocolor.imaging.color import compose_alpha_beta, lightness, rgb_to_alpha_beta


def regions(colors: list[tuple[float, float]], side: int = 24) -> np.ndarray:
    """Vertical stripes of one alpha and beta each, with a gradient of lightness."""
    stripes = np.repeat(np.array(colors), side, axis=0)
    light = np.linspace(0.35, 0.5, side)[:, None] * np.ones(len(stripes))
    return compose_alpha_beta(np.broadcast_to(stripes, (side, *stripes.shape)).copy(), light)


def test_histogram_of_two_colours():
    image = regions([(0.0, 0.0), (-0.31, 0.52)])
    histogram = alpha_beta_histogram(image)
    assert histogram.shape == (121, 121)
    # Grey lies in the middle bin; -0.31 is nearest to -0.30, 0.52 to 0.50.
    np.testing.assert_allclose(histogram[60, 60], 0.5)
    np.testing.assert_allclose(histogram[60 - 6, 60 + 10], 0.5)
    # A pixel as blue as can be: alpha just under 3 (epsilon), beta 0.
    assert alpha_beta_histogram(np.array([[0.0, 0.0, 1.0]]))[120, 60] == 1


def test_constant_regions_get_the_true_colours():
    true = [(0.0, 0.0), (-0.8, 0.3), (0.4, -0.9)]
    automatic = [(0.0, 0.0), (-0.5, 0.2), (0.2, -0.6)]
    found = transfer_clusters(regions(automatic), regions(true))
    error = rgb_to_alpha_beta(found) - rgb_to_alpha_beta(regions(true))
    # Half a bin of the histogram, and what neighbouring Gaussians share of a colour 0.5 away.
    assert np.abs(error).max() < BIN_WIDTH / 2 + 0.02


def test_regions_may_lie_elsewhere_and_be_of_other_sizes():
    truth = regions([(0.4, -0.9), (0.0, 0.0), (0.0, 0.0), (-0.8, 0.3)], side=17)
    found = transfer_clusters(regions([(0.0, 0.0), (-0.5, 0.2), (0.2, -0.6)]), truth)
    expected = rgb_to_alpha_beta(regions([(0.0, 0.0), (-0.8, 0.3), (0.4, -0.9)]))
    assert np.abs(rgb_to_alpha_beta(found) - expected).max() < BIN_WIDTH / 2 + 0.02


def test_only_the_histogram_of_the_truth_counts():
    rng = np.random.default_rng(0)
    source, truth = rng.uniform(0.2, 0.8, (2, 30, 40, 3))
    shuffled = rng.permutation(truth.reshape(-1, 3)).reshape(truth.shape)
    found = transfer_clusters(source, truth)
    np.testing.assert_array_equal(transfer_clusters(source, shuffled), found)
    np.testing.assert_array_equal(transfer_clusters(source, alpha_beta_histogram(truth)), found)
    np.testing.assert_allclose(lightness(found), lightness(source), atol=1e-12)


def test_the_truth_itself_hardly_changes():
    truth = regions([(0.0, 0.0), (-0.8, 0.3), (0.4, -0.9)])
    assert np.abs(transfer_clusters(truth, truth) - truth).max() < 0.02


def test_a_grey_result_takes_the_one_mean_of_the_largest_cluster():
    truth = regions([(-0.8, 0.3), (-0.8, 0.3), (0.4, -0.9)])
    grey = np.repeat(lightness(truth)[..., None], 3, axis=-1)
    found = rgb_to_alpha_beta(transfer_clusters(grey, truth))
    np.testing.assert_allclose(found, np.broadcast_to([-0.8, 0.3], found.shape), atol=BIN_WIDTH / 2)


def test_colours_move_by_their_shares():
    # Halfway between two equal clusters: the mean of their shifts; far from one: the other's.
    correspondence = Correspondence(
        np.array([[0.0, 0.0], [1.0, 0.0]]),
        np.array([[0.0, 0.4], [1.0, -0.2]]),
        np.array([0.5, 0.5]),
    )
    moved = correspondence.move(np.array([[[0.5, 0.0], [-1.0, 0.0]]]))
    np.testing.assert_allclose(moved, [[[0.5, 0.1], [-1.0, 0.4]]], atol=1e-9)


def test_mixture_against_naive_expectation_maximisation():
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.normal(-0.2, 0.2, (60, 2)), rng.normal(0.2, 0.2, (30, 2))])
    mass = rng.random(90)
    means, weights = np.array([[-0.1, 0.0], [0.1, 0.1]]), np.array([0.5, 0.5])
    found = _fit_mixture(points, mass, means)
    centre = np.average(points, axis=0, weights=mass)
    variance = np.average(np.square(points - centre).sum(axis=1), weights=mass)

    def measure(means, weights):
        """The release's: of each Gaussian alone, as if all points were its own, by its weight."""
        away = [np.square(m - centre).sum() + variance for m in means]
        logarithms = [-np.log(2 * np.pi * 0.15**2) - a / (2 * 0.15**2) for a in away]
        return sum(w * value for w, value in zip(weights, logarithms, strict=True))

    value, previous = measure(means, weights), np.inf
    steps = 0
    while steps == 0 or abs(100 * (value - previous) / previous) > 0.1:
        densities = np.array(
            [
                [
                    w * np.exp(-np.sum((p - m) ** 2) / (2 * 0.15**2))
                    for m, w in zip(means, weights, strict=True)
                ]
                for p in points
            ]
        )
        shares = densities / densities.sum(axis=1, keepdims=True) * mass[:, None]
        means = np.array([(s[:, None] * points).sum(axis=0) / s.sum() for s in shares.T])
        weights = shares.sum(axis=0) / mass.sum()
        previous, value = value, measure(means, weights)
        steps += 1
    assert steps > 2
    np.testing.assert_allclose(found[0], means, atol=1e-9)
    np.testing.assert_allclose(found[1], weights, atol=1e-9)


def test_a_cluster_is_as_large_as_what_its_mode_draws():
    """The likeliest mixture has its second Gaussian where 3 % of the colours are, and moves them alone."""
    rng = np.random.default_rng(3)
    second = [0.4, -0.25]
    automatic = np.concatenate([rng.normal(0, 0.15, (9700, 2)), rng.normal(second, 0.03, (300, 2))])
    true = np.concatenate([rng.normal(0, 0.05, (7000, 2)), rng.normal(second, 0.05, (3000, 2))])
    light = np.full((1, 10_000), 0.3)
    found = correspond(
        *(alpha_beta_histogram(compose_alpha_beta(each[None], light)) for each in (automatic, true))
    )
    np.testing.assert_allclose(found.target, [[0, 0], second], atol=0.03)
    assert found.weights[1] > 0.2


def test_mean_shift_climbs_to_the_mode_and_minds_the_tether():
    rng = np.random.default_rng(2)
    points, mass = rng.normal([0.5, -0.5], 0.05, (500, 2)), np.ones(500)
    place, votes = _climb(points, mass, np.array([0.6, -0.6]))
    np.testing.assert_allclose(place, [0.5, -0.5], atol=0.01)
    assert votes.min() > 0
    # One step leads farther from the tether than half the bandwidth: it is the last.
    start = np.array([0.7, -0.5])
    near = np.square(points - start).sum(axis=1) < BANDWIDTH**2
    kernel = np.exp(-0.5 * np.square(points[near] - start).sum(axis=1) / BANDWIDTH**2)
    stopped, _ = _climb(points, mass, start, tether=np.array([0.9, -0.5]))
    np.testing.assert_allclose(stopped, kernel @ points[near] / kernel.sum())


def test_small_clusters_of_the_truth_are_dropped():
    # 1.2 % of the truth: under 1000 of 256 x 256 pixels.
    truth = np.zeros((121, 121))
    truth[60, 60], truth[90, 60] = 0.988, 0.012
    source = np.zeros((121, 121))
    source[60, 60], source[80, 60] = 0.5, 0.5
    assert len(correspond(source, truth).target) == 1
    truth[60, 60], truth[90, 60] = 0.98, 0.02
    assert len(correspond(source, truth).target) == 2


@pytest.mark.parametrize(
    ("histogram", "message"),
    [
        (np.zeros((121, 121)), "some mass"),
        (np.ones((3, 3)), "expected shape"),
        (-np.ones((121, 121)), "finite values"),
    ],
)
def test_wrong_histograms(histogram, message):
    with pytest.raises(ValueError, match=message):
        correspond(np.ones((121, 121)), histogram)
    with pytest.raises(ValueError, match="at least one pixel"):
        alpha_beta_histogram(np.zeros((0, 3)))
