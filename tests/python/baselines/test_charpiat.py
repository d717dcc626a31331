"""Charpiat et al.: Parzen means and energies naively, the cut against every labelling, whole photos."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from autocolor.baselines.charpiat import (
    Charpiat,
    Pairs,
    color_variation,
    cut,
    describe_pixels,
    labelling_energy,
    neighbour_pairs,
    parzen_means,
    refine,
)
from autocolor.baselines.references import References
from autocolor.imaging.color import lightness, rgb_to_lab
from autocolor.imaging.images import write_image


def test_by_hand():
    # Bandwidth such that a distance of 1 weighs a half: (2 · 1 + 1 · 0.5) / 1.5.
    bandwidth = 1 / np.sqrt(2 * np.log(2))
    found = parzen_means(
        np.array([[0.0]]), np.array([[0.0], [1.0]]), np.array([[2.0], [1.0]]), bandwidth
    )
    np.testing.assert_allclose(found, [[5 / 3]], rtol=1e-6)
    # Three pixels in a row: the middle one alone would take label 1, at 0.5 less; two changes cost
    # 2 · 0.3 · 1. With 0.2 it stays.
    cost = np.array([[0, 1.0], [0.5, 0.0], [0, 1.0]])
    distances = 1 - np.eye(2)
    for weight, expected in ((0.3, [0, 0, 0]), (0.2, [0, 1, 0])):
        pairs = Pairs(np.array([0, 1]), np.array([1, 2]), np.full(2, weight))
        assert cut(cost, distances, pairs).tolist() == expected
    assert labelling_energy(np.array([0, 1, 0]), cost, distances, pairs) == pytest.approx(0.4)


def test_parzen_means_naively():
    rng = np.random.default_rng(0)
    asked, known, values = rng.random((7, 3)), rng.random((11, 3)), rng.random((11, 4))
    expected = np.zeros((7, 4))
    for i in range(7):
        total = 0.0
        for j in range(11):
            weight = np.exp(-sum((asked[i] - known[j]) ** 2) / (2 * 0.3**2))
            expected[i] += weight * values[j]
            total += weight
        expected[i] /= total
    np.testing.assert_allclose(parzen_means(asked, known, values, 0.3), expected, rtol=1e-6)
    # Far from everything and with more rows than one block, it is the nearest's value, not NaN.
    far = parzen_means(np.full((1500, 1), 1e3), np.array([[0.0], [1.0]]), np.eye(2), 1e-3)
    np.testing.assert_array_equal(far, np.broadcast_to([0, 1], (1500, 2)))


def test_neighbours_and_their_weights_naively():
    variation = np.random.default_rng(1).uniform(1, 5, (3, 4))
    pairs = neighbour_pairs(variation, 0.5)
    found = {
        frozenset(pair): weight
        for *pair, weight in zip(
            pairs.first.tolist(), pairs.second.tolist(), pairs.weight, strict=True
        )
    }
    places = list(itertools.product(range(3), range(4)))
    expected = {
        frozenset((p, q)): 0.5 / (2 / (1 / variation[places[p]] + 1 / variation[places[q]]))
        for p, q in itertools.combinations(range(12), 2)
        if max(abs(np.subtract(places[p], places[q]))) == 1
    }
    assert found == pytest.approx(expected) and len(pairs.first) == len(expected)


def test_variation_of_a_ramp():
    y, x = np.mgrid[:5, :6].astype(float)
    np.testing.assert_allclose(color_variation(np.stack([3 * x, 4 * y], axis=-1)), 5)


def case(rng, labels, shape=(2, 4)):
    cost = rng.random((shape[0] * shape[1], labels))
    places = rng.normal(size=(labels, 2))
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    return cost, distances, neighbour_pairs(rng.uniform(1, 3, shape), 0.3)


def test_of_two_labels_the_cut_is_the_best_of_all_labellings():
    rng = np.random.default_rng(2)
    smoothed = 0
    for _ in range(20):
        cost, distances, pairs = case(rng, 2)
        energies = {
            labels: labelling_energy(np.array(labels), cost, distances, pairs)
            for labels in itertools.product(range(2), repeat=8)
        }
        found = cut(cost, distances, pairs)
        assert energies[tuple(found)] == pytest.approx(min(energies.values()), abs=1e-9)
        smoothed += (found != cost.argmin(axis=1)).any()
    assert smoothed >= 10  # else the cheapest labels alone would pass


def test_of_three_labels_no_expansion_is_left():
    rng = np.random.default_rng(3)
    best = 0
    for _ in range(20):
        cost, distances, pairs = case(rng, 3, (2, 3))
        found = cut(cost, distances, pairs)
        energy = labelling_energy(found, cost, distances, pairs)
        for label, moves in itertools.product(range(3), itertools.product([0, 1], repeat=6)):
            moved = np.where(np.array(moves, bool), label, found)
            assert labelling_energy(moved, cost, distances, pairs) >= energy - 1e-9
        least = min(
            labelling_energy(np.array(labels), cost, distances, pairs)
            for labels in itertools.product(range(3), repeat=6)
        )
        # Twice the largest over the least distance bounds expansion moves (Boykov et al., theorem 6.1).
        off = distances[~np.eye(3, dtype=bool)]
        assert energy <= 2 * off.max() / off.min() * least
        best += energy <= least + 1e-9
    assert best >= 15


def test_refinement_lowers_the_energy_in_continuous_colour():
    rng = np.random.default_rng(4)
    colors, width = rng.normal(0, 20, (5, 2)), 6.0
    probability = rng.dirichlet(np.ones(5), 12)
    pairs = neighbour_pairs(rng.uniform(1, 3, (3, 4)), 0.3)

    def energy(ab):
        total = 0.0
        for pixel in range(12):
            squares = ((ab[pixel] - colors) ** 2).sum(axis=1)
            total -= np.log((probability[pixel] * np.exp(-squares / (2 * width**2))).sum())
        for p, q, weight in zip(pairs.first, pairs.second, pairs.weight, strict=True):
            total += weight * np.sqrt(((ab[p] - ab[q]) ** 2).sum() + 1)
        return total

    start = colors[probability.argmax(axis=1)]
    found = refine(start, probability, colors, width, pairs)
    again = refine(found, probability, colors, width, pairs)
    assert energy(found) < energy(start) - 1
    assert energy(again) <= energy(found) + 1e-9
    # Without neighbours and with one bin, the mode is that bin's colour.
    alone = Pairs(pairs.first[:0], pairs.second[:0], pairs.weight[:0])
    np.testing.assert_allclose(
        refine(start[:1] + 9, np.ones((1, 1)), colors[:1], 6, alone), colors[:1]
    )


def test_descriptors_see_texture_and_lightness():
    light = np.full((32, 64), 0.5)
    light[:, 32:] += 0.3 * np.sin(np.arange(32) * np.pi / 2)
    texture, bright = describe_pixels(light)
    assert texture.shape == (32 * 64, 120) and bright.shape == (32 * 64, 3)
    flat, waves = (bright.reshape(32, 64, 3)[16, x] for x in (8, 50))
    np.testing.assert_allclose(flat, [0.5, 0.5, 0], atol=1e-4)
    assert waves[2] > 0.1 and np.isfinite(texture).all()
    assert np.ptp(texture.reshape(32, 64, -1)[16, [8, 50]], axis=0).max() > 0.01


def two_regions(seed, shape=(128, 192)):
    """A dark smooth blue half and a light rough red half."""
    rng = np.random.default_rng(seed)
    left = np.arange(shape[1]) < shape[1] // 2
    light = np.where(left, 0.35, rng.uniform(0.55, 0.75, shape))
    return light[..., None] + np.where(left[:, None], [-0.1, -0.05, 0.15], [0.15, -0.05, -0.1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    write_image(folder / "regions.png", two_regions(0))
    (folder / "broken.png").write_bytes(b"no photo")
    return folder


@pytest.mark.slow
def test_a_photo_of_two_regions_gets_their_colours(folder):
    references = References(sorted(folder.iterdir()))
    method = Charpiat(references, seed=1)
    assert [path.name for path, _ in references.skipped] == ["broken.png"]
    for truth in (two_regions(0), two_regions(5)[:, ::-1]):
        light = lightness(truth)
        found = method(light)
        np.testing.assert_allclose(lightness(found), light, atol=2e-6)
        error = np.linalg.norm((rgb_to_lab(found) - rgb_to_lab(truth))[..., 1:], axis=-1)
        inside = np.ones(light.shape, bool)
        inside[:, 84:108] = False  # descriptors that see both
        # 3 is a tenth of the colours' distance from grey.
        assert (error[inside] < 3).mean() > 0.97
        grey = np.linalg.norm(rgb_to_lab(truth)[..., 1:], axis=-1)
        assert np.median(grey) > 25


def test_the_seed_decides(folder):
    references = References(sorted(folder.iterdir()))
    light = np.random.default_rng(0).random((40, 50))
    first = Charpiat(references, seed=1)(light)
    np.testing.assert_array_equal(Charpiat(references, seed=1)(light), first)
    assert (Charpiat(references, seed=2)(light) != first).any()


def test_without_any_reference(folder):
    with pytest.raises(ValueError, match="at least one colour photo, got none"):
        Charpiat(References([folder / "broken.png"]))
