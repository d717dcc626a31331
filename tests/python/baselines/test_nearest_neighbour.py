"""Nearest neighbours: votes and modes by hand, exact search against SciPy, a photo from itself."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from scipy.spatial import cKDTree

from autocolor.baselines.descriptors import cell_means
from autocolor.baselines.nearest_neighbour import (
    COLOR_CENTERS,
    NearestNeighbour,
    ReferenceBank,
    build_bank,
    choose_colors,
    nearest_places,
    vote_histograms,
)
from autocolor.baselines.references import References
from autocolor.evaluation.metrics import ColorMetrics
from autocolor.imaging.color import compose_lab, lightness, rgb_to_lab
from autocolor.imaging.images import resize, write_image
from autocolor.imaging.joint_bilateral import joint_bilateral_upsample
from helpers.block_backbone import BlockBackbone


def test_search_against_a_tree():
    rng = np.random.default_rng(0)
    known, asked = rng.normal(size=(300, 8)), rng.normal(size=(40, 8))
    squares, index = nearest_places(asked, known, 5)
    distances, expected = cKDTree(known).query(asked, k=5)
    order = np.argsort(squares, axis=1)
    np.testing.assert_array_equal(np.take_along_axis(index, order, axis=1), expected)
    np.testing.assert_allclose(np.sort(squares, axis=1), distances**2, rtol=1e-6)
    assert nearest_places(asked, known[:3], 5)[1].shape == (40, 3)


def test_votes_are_split_among_bins():
    # Bins are 8 wide and centred at 0: a = 2 lies a quarter of the way from 0 to 8.
    colors, weights = np.array([[[2.0, 0.0], [0.0, 500.0]]]), np.array([[0.8, 0.2]])
    histogram = vote_histograms(colors, weights)[0]
    occupied = {tuple(COLOR_CENTERS[i]): histogram[i] for i in np.flatnonzero(histogram)}
    assert occupied == pytest.approx({(0, 0): 0.6, (8, 0): 0.2, (0, 104): 0.2})


def test_histograms_keep_mean_and_mass():
    rng = np.random.default_rng(1)
    colors, weights = rng.uniform(-90, 90, (7, 32, 2)), rng.dirichlet(np.ones(32), 7)
    histograms = vote_histograms(colors, weights)
    np.testing.assert_allclose(histograms.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        histograms @ COLOR_CENTERS, np.einsum("nk,nkc->nc", weights, colors), atol=1e-3
    )


def votes(*colors: tuple[float, float, float]) -> np.ndarray:
    """Histogram (K,) of votes (weight, a, b)."""
    array = np.array(colors)
    return vote_histograms(array[None, :, 1:], array[None, :, 0])[0]


def test_the_larger_mode_is_chosen_not_the_mean():
    two = votes((0.6, 40, 0), (0.4, -40, 0))[None, None]
    flat = np.full((1, 1), 0.5)
    np.testing.assert_allclose(choose_colors(two, flat, 8.0)[0, 0], [40, 0], atol=0.1)
    # A broad density has one mode, near the mean: 0.6 * 40 - 0.4 * 40 = 8.
    np.testing.assert_allclose(choose_colors(two, flat, 500.0)[0, 0], [8, 0], atol=0.1)


def test_neighbours_of_like_lightness_decide():
    # Undecided in the middle, its neighbours are sure; the right one has another lightness.
    red, blue = votes((1.0, 48, 0)), votes((1.0, 0, -48))
    undecided = votes((0.49, 48, 0), (0.51, 0, -48))
    histograms = np.stack([red, undecided, blue])[None]
    assert choose_colors(histograms[:, 1:2], np.array([[0.5]]), 10.0)[0, 0, 1] < -40
    chosen = choose_colors(histograms, np.array([[0.5, 0.5, 0.9]]), 10.0)
    np.testing.assert_allclose(chosen[0], [[48, 0], [48, 0], [0, -48]], atol=2)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    for name in ("coffee", "chelsea", "astronaut"):
        image = getattr(skimage.data, name)().astype(np.float32) / 255
        write_image(folder / f"{name}.png", resize(image, (128, 160)))
    return sorted(folder.iterdir())


def test_a_photo_gets_its_own_colours_back(photos):
    backbone = BlockBackbone()
    for path in photos:
        bank = build_bank(References([path]), backbone, np.random.default_rng(0))
        method = NearestNeighbour(bank, backbone, bandwidth=6.0)
        truth = References([]).read(path)
        light = lightness(truth)
        found = method(light)
        np.testing.assert_allclose(lightness(found), light, atol=2e-6)
        # The best that a colour for every 8 x 8 pixels can do: the block means of the truth itself.
        size = (light.shape[0] // 8, light.shape[1] // 8)
        blocks = cell_means(rgb_to_lab(truth)[..., 1:], size)
        guide = cell_means(light[..., None], size)[..., 0]
        best = compose_lab(joint_bilateral_upsample(blocks, guide, light), light)
        metrics = ColorMetrics(replicates=0)
        own, bound = metrics.add(truth, found), metrics.add(truth, best)
        grey = metrics.add(truth, np.repeat(light[..., None], 3, axis=-1))
        # Beyond that, neighbouring places share their votes.
        assert own.rmse < 1.5 * bound.rmse and own.rmse < 0.6 * grey.rmse
        assert own.psnr > max(bound.psnr - 4, grey.psnr + 5)


def test_bank_survives_a_file_and_other_sizes_work(photos, tmp_path):
    backbone = BlockBackbone()
    bank = build_bank(References(photos), backbone, np.random.default_rng(0))
    assert bank.starts.tolist() == [0, 320, 640, 960]
    means = rgb_to_lab(References([]).read(photos[0])).reshape(16, 8, 20, 8, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(bank.colors[:320], means[..., 1:].reshape(-1, 2), atol=1e-4)
    bank.save(tmp_path / "bank.npz")
    loaded = ReferenceBank.load(tmp_path / "bank.npz")
    light = np.random.default_rng(1).random((37, 61)).astype(np.float32)
    first = NearestNeighbour(bank, backbone)(light)
    assert first.shape == (37, 61, 3)
    np.testing.assert_array_equal(NearestNeighbour(loaded, backbone)(light), first)
