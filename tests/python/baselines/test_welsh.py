"""Welsh et al.'s transfer: its steps by hand and naively, textures it must tell apart, its matching."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from autocolor.baselines.references import References
from autocolor.baselines.welsh import (
    SPACES,
    Gist,
    Welsh,
    jittered_grid,
    local_deviation,
    remap_luminance,
    rgb_to_ruderman,
    ruderman_to_rgb,
    transfer_by_luminance,
)
from autocolor.imaging.color import lightness, rgb_to_lab
from autocolor.imaging.images import resize, write_image


def test_ruderman_by_hand():
    """White excites the cones by the sums of their rows; l is the sum of logarithms over root 3."""
    white = np.log10([0.9996, 0.9993, 0.9973])
    expected = [
        white.sum() / 3**0.5,
        (white[0] + white[1] - 2 * white[2]) / 6**0.5,
        (white[0] - white[1]) / 2**0.5,
    ]
    np.testing.assert_allclose(rgb_to_ruderman(np.ones(3)), expected, atol=1e-12)
    red = np.log10([0.3811 + 0.6185 / 255, 0.1967 + 0.8026 / 255, 0.0241 + 0.9732 / 255])
    np.testing.assert_allclose(
        rgb_to_ruderman(np.array([1.0, 0, 0]))[2], (red[0] - red[1]) / 2**0.5, atol=1e-12
    )


def test_ruderman_there_and_back():
    rgb = np.random.default_rng(0).uniform(1 / 255, 1, (5, 6, 3))
    np.testing.assert_allclose(ruderman_to_rgb(rgb_to_ruderman(rgb)), rgb, atol=1e-12)
    # Grey of any lightness has the same alpha and beta, next to 0.
    greys = rgb_to_ruderman(np.repeat(np.linspace(0.01, 1, 9)[:, None], 3, axis=1))
    np.testing.assert_allclose(greys[:, 1:], np.broadcast_to(greys[0, 1:], (9, 2)), atol=1e-12)
    assert np.abs(greys[:, 1:]).max() < 2e-3


@pytest.mark.slow
def test_a_photo_that_is_its_own_reference_keeps_its_colours_in_their_space(tmp_path):
    """Two flat halves: each pixel's sample has its colour, in either space."""
    rgb = np.empty((64, 64, 3), np.float32)
    rgb[:, :32], rgb[:, 32:] = (0.8, 0.5, 0.4), (0.1, 0.2, 0.4)
    write_image(tmp_path / "photo.png", rgb)
    references = References([tmp_path / "photo.png"])
    light = lightness(rgb)
    for space in SPACES:
        found = Welsh(references, space=space)(light)
        # A colour's l is not that of the grey of its L; and files have 8 bit.
        np.testing.assert_allclose(found[:, :28], rgb[:, :28], atol=0.03)
        np.testing.assert_allclose(found[:, 36:], rgb[:, 36:], atol=0.03)
    # In half the light Ruderman's alpha and beta make all channels half as large, a and b do not.
    cielab, ruderman = (
        Welsh(references, space=space)(0.5 * light)[32, 5]
        / Welsh(references, space=space)(light)[32, 5]
        for space in SPACES
    )
    np.testing.assert_allclose(ruderman, 0.5, atol=0.005)
    assert np.abs(cielab - 0.5).max() > 0.05
    with pytest.raises(ValueError, match="space: expected one of lab, ruderman, got 'luv'"):
        Welsh(references, space="luv")


def test_remapping_by_hand():
    # Mean 2 and deviation 1 become mean 0.5 and deviation 0.1.
    remapped = remap_luminance(np.array([1.0, 3.0]), np.array([0.4, 0.6, 0.4, 0.6]))
    np.testing.assert_allclose(remapped, [0.4, 0.6])
    np.testing.assert_allclose(remap_luminance(np.ones(3), np.array([0.2, 0.4])), 0.3)


def test_local_deviation_naively():
    image = np.random.default_rng(0).random((9, 8))
    padded = np.pad(image, 2, mode="symmetric")
    expected = [[padded[y : y + 5, x : x + 5].std() for x in range(8)] for y in range(9)]
    np.testing.assert_allclose(local_deviation(image), expected, atol=1e-12)
    np.testing.assert_allclose(local_deviation(np.full((7, 7), 0.3, np.float32)), 0, atol=1e-12)


def test_each_cell_of_the_grid_has_one_sample():
    samples = jittered_grid(200, 400, 200, np.random.default_rng(0))
    assert samples.shape == (200, 2)  # 10 x 20 cells of 20 x 20 pixels
    cells = samples // 20
    assert len({tuple(cell) for cell in cells}) == 200
    # A photo smaller than the grid: no more cells than pixels, all inside.
    small = jittered_grid(3, 2, 200, np.random.default_rng(0))
    assert len({tuple(place) for place in small}) == 6


def textures(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A flat red half and a noisy blue half of the same mean lightness; and which is which."""
    rng = np.random.default_rng(seed)
    light = np.full((64, 128), 0.5)
    light[:, 64:] += rng.uniform(-0.1, 0.1, (64, 64))
    shift = np.where(np.arange(128)[:, None] < 64, [0.2, -0.1, -0.1], [-0.1, -0.1, 0.2])
    return light, light[..., None] + shift


def test_two_textures_get_their_colours():
    _, reference = textures(0)
    target, truth = textures(1)
    # The target is the other way round.
    target, truth = target[:, ::-1], truth[:, ::-1]
    found = transfer_by_luminance(target, reference, np.random.default_rng(0))
    expected = rgb_to_lab(truth)[..., 1:]
    red = np.linalg.norm(found - [expected[0, -1]], axis=-1) < 25
    inside = np.ones((64, 128), bool)
    inside[:, 60:68] = False  # windows that see both
    right = np.where(np.arange(128) >= 64, red, ~red)
    assert right[inside].mean() > 0.97


def test_matches_are_the_nearest_by_half_and_half():
    rng = np.random.default_rng(3)
    reference, target = rng.random((20, 30, 3)), rng.random((12, 10))
    found = transfer_by_luminance(target, reference, np.random.default_rng(4), samples=50)
    luminance = remap_luminance(lightness(reference), target)
    places = jittered_grid(20, 30, 50, np.random.default_rng(4))
    lab = rgb_to_lab(reference)
    for y, x in [(0, 0), (5, 5), (11, 9)]:
        differences = [
            0.5 * abs(luminance[p, q] - target[y, x])
            + 0.5 * abs(local_deviation(luminance)[p, q] - local_deviation(target)[y, x])
            for p, q in places
        ]
        p, q = places[int(np.argmin(differences))]
        np.testing.assert_allclose(found[y, x], lab[p, q, 1:], rtol=1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    for name in ("coffee", "chelsea", "astronaut"):
        image = getattr(skimage.data, name)().astype(np.float32) / 255
        write_image(folder / f"{name}.png", resize(image, (96, 128)))
    return folder


def test_a_photo_is_matched_to_itself_changed(folder):
    method = Welsh(References(sorted(folder.iterdir())))
    for name in ("coffee", "chelsea", "astronaut"):
        image = getattr(skimage.data, name)().astype(np.float32) / 255
        # Another size, darker, with other margins.
        changed = 0.7 * lightness(resize(image, (150, 190)))[4:-4, 6:-6]
        assert method.match(changed).stem == name


def test_colorizes_and_repeats(folder):
    method = Welsh(References(sorted(folder.iterdir())), seed=3)
    light = resize(skimage.data.camera().astype(np.float32) / 255, (75, 50))
    first = method(light)
    assert first.shape == (75, 50, 3) and first.dtype == np.float32
    np.testing.assert_allclose(lightness(first), light, atol=2e-6)
    method(light.T)  # another photo in between makes no difference
    np.testing.assert_array_equal(method(light), first)


def test_gist_sees_orientation_and_place():
    gist = Gist()
    stripes = np.zeros((128, 128))
    # A wave along x of 1/8 cycles a pixel in the upper left quarter.
    stripes[:64, :64] = 0.5 + 0.4 * np.sin(2 * np.pi * np.arange(64) / 8)
    descriptor = gist(stripes)
    assert descriptor.shape == (512,)
    energy = descriptor.reshape(4, 8, 4, 4)
    assert np.unravel_index(energy.sum(axis=(2, 3)).argmax(), (4, 8)) == (1, 0)
    assert energy[1, 0, :2, :2].min() > 3 * energy[1, 0, 3, 3]
    # Across: orientation 4 of 8.
    assert gist(stripes.T).reshape(4, 8, 16).sum(axis=2)[1].argmax() == 4
    np.testing.assert_allclose(gist(np.full((40, 50), 0.5)), 0, atol=1e-6)
