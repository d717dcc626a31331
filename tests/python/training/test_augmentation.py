"""Views of photos to learn from."""

import numpy as np
import pytest
import skimage.data

from autocolor.imaging.color import lightness, rgb_to_alpha_beta, rgb_to_hue_chroma
from autocolor.training.augmentation import (
    ViewOptions,
    add_grain,
    change_tone,
    clean_view,
    compress,
    random_view,
)

OPTIONS = ViewOptions(crop=64, locations=9, largest_side=128)
PHOTO = skimage.data.astronaut()[:300, :400].astype(np.float32) / 255


def test_the_clean_view_is_the_centre_of_the_photo():
    view = clean_view(PHOTO, np.random.default_rng(0), OPTIONS)
    assert view.rgb.shape == (64, 64, 3) and view.rgb.dtype == view.grey.dtype == np.float32
    np.testing.assert_array_equal(view.grey, lightness(view.rgb))
    # The centre of the photo at 256 pixels; its mean colour is that of the same part of the photo.
    part = PHOTO[150 - 37 : 150 + 38, 200 - 37 : 200 + 38]
    np.testing.assert_allclose(view.rgb.mean((0, 1)), part.mean((0, 1)), atol=0.01)
    assert view.locations.shape == (9, 2)
    assert view.locations.min() >= 0 and view.locations.max() < 64


def test_random_views_differ_and_come_again():
    first, again = (random_view(PHOTO, np.random.default_rng(3), OPTIONS) for _ in range(2))
    np.testing.assert_array_equal(first.grey, again.grey)
    np.testing.assert_array_equal(first.locations, again.locations)
    other = random_view(PHOTO, np.random.default_rng(4), OPTIONS)
    assert np.abs(first.rgb - other.rgb).mean() > 0.02


def test_damage_is_of_the_grey_input_alone():
    clean = ViewOptions(64, 9, 128, tone=0, blur=0, grain=0, jpeg=0)
    for seed in range(4):
        before = random_view(PHOTO, np.random.default_rng(seed), clean)
        np.testing.assert_array_equal(before.grey, lightness(before.rgb))
        for damage in ("blur", "grain", "jpeg"):
            options = ViewOptions(
                64, 9, 128, **{**dict(tone=0, blur=0, grain=0, jpeg=0), damage: 1}
            )
            after = random_view(PHOTO, np.random.default_rng(seed), options)
            np.testing.assert_array_equal(after.rgb, before.rgb)
            difference = np.abs(after.grey - before.grey).mean()
            assert 1e-3 < difference < 0.1, damage
            assert after.grey.min() >= 0 and after.grey.max() <= 1


def test_photos_smaller_than_a_crop_are_enlarged():
    view = random_view(PHOTO[:20, :50], np.random.default_rng(0), OPTIONS)
    assert view.grey.shape == (64, 64)


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
