"""Views of photos to learn from."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from autocolor.data.augmentation import (
    DamageOptions,
    add_grain,
    change_tone,
    compress,
    damaged,
)
from autocolor.data.lmdb_io import LmdbOptions, ViewOptions
from autocolor.imaging.color import lightness, rgb_to_alpha_beta, rgb_to_hue_chroma

PHOTO = skimage.data.astronaut()[:300, :400].astype(np.float32) / 255
NONE = dict(tone=0, blur=0, grain=0, jpeg=0)


@pytest.fixture
def path(tmp_path):
    Image.fromarray(np.rint(255 * PHOTO).astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_views_have_any_size_and_come_again(path):
    options = ViewOptions(side=96, minimum_side=64, damage=DamageOptions(**NONE))
    views = [np.asarray(options.prepare(path, number)) for number in range(40)]
    sides = [min(view.shape[:2]) for view in views]
    assert 64 <= min(sides) < 70 and 90 < max(sides) <= 96 and len(set(sides)) > 15
    np.testing.assert_array_equal(views[7], np.asarray(options.prepare(path, 7)))
    # Without damage, a view is the photo at another size.
    other = LmdbOptions(side=sides[7], minimum_side=64)
    np.testing.assert_array_equal(views[7], np.asarray(other.prepare(path)))


def test_a_seed_decides_what_is_random(path):
    one, other = (np.asarray(ViewOptions(seed=seed).prepare(path, 5)) for seed in (1, 2))
    assert one.shape != other.shape


def test_damage_is_done_to_the_lightness_alone():
    muted = 0.3 + 0.3 * PHOTO  # so that nothing leaves the gamut
    hue, chroma = rgb_to_hue_chroma(muted)
    for name in ("blur", "grain", "jpeg"):
        options = DamageOptions(**{**NONE, name: 1})
        after = damaged(muted, np.random.default_rng(1), options)
        assert after.shape == muted.shape and after.dtype == np.float32
        assert 1e-3 < np.abs(lightness(after) - lightness(muted)).mean() < 0.1, name
        found_hue, found_chroma = rgb_to_hue_chroma(after)
        np.testing.assert_allclose(found_chroma, chroma, atol=2e-3)
        turned = (found_hue - hue + 0.5) % 1 - 0.5
        assert np.abs(turned[chroma > 0.05]).max() < 0.01


def test_most_views_are_not_damaged():
    kept = sum(
        damaged(PHOTO, np.random.default_rng(seed), DamageOptions()) is PHOTO for seed in range(60)
    )
    assert 25 < kept < 50


def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="blur: expected a probability, got 1.5"):
        DamageOptions(blur=1.5)


def test_a_changed_tone_keeps_hue_and_the_ratio_of_chroma_to_lightness():
    rng = np.random.default_rng(0)
    muted = 0.3 + 0.3 * PHOTO  # so that nothing leaves the gamut
    changed = change_tone(muted, rng)
    light = lightness(muted)
    assert np.abs(lightness(changed) - light).mean() > 0.02
    np.testing.assert_allclose(rgb_to_alpha_beta(changed), rgb_to_alpha_beta(muted), atol=2e-3)
    hue, chroma = rgb_to_hue_chroma(muted)
    turned = (rgb_to_hue_chroma(changed)[0] - hue + 0.5) % 1 - 0.5
    assert np.abs(turned[chroma > 0.05]).max() < 0.01


def test_grain_is_strongest_in_the_middle_tones():
    noise = [
        (add_grain(np.full((64, 64), level, np.float32), np.random.default_rng(1)) - level).std()
        for level in (0.1, 0.5)
    ]
    assert noise[1] > 1.2 * noise[0] > 0


@pytest.mark.parametrize("quality", [30, 90])
def test_jpeg(quality):
    grey = lightness(PHOTO)
    compressed = compress(grey, quality)
    assert compressed.shape == grey.shape and compressed.dtype == np.float32
    assert 1e-3 < np.abs(compressed - grey).mean() < 0.05
