"""The pictures of the model card: names that a clone can have, and old scans made of new photos."""

from pathlib import Path

import numpy as np
import pytest
from galleries import THEMES, blurred, faded, find, halftoned, scratched, sheet, shrink

from autocolor.data.photos import PhotoError, read_list
from helpers.programs import ROOT

GREY = np.tile(np.linspace(0, 1, 96, dtype=np.float32), (64, 1))


@pytest.mark.parametrize("damage", [blurred, faded, halftoned, scratched])
def test_damage_is_a_photo_again_and_the_same_for_the_same_numbers(damage):
    spoilt = damage(GREY, np.random.default_rng(0))
    assert spoilt.shape == GREY.shape and spoilt.dtype == np.float32
    assert spoilt.min() >= 0 and spoilt.max() <= 1
    assert 0.02 < np.abs(spoilt - GREY).mean() < 0.4 or damage is blurred
    np.testing.assert_array_equal(spoilt, damage(GREY, np.random.default_rng(0)))


def test_what_each_damage_does():
    rng = np.random.default_rng(0)
    assert np.ptp(faded(GREY, rng)) < 0.6
    edge = np.repeat(np.float32([[0, 1]]), 32, axis=1).repeat(64, axis=0)
    assert np.abs(np.diff(blurred(edge, rng), axis=1)).max() < 0.3
    # Dots keep the tone of an area, nearly, and vary within it.
    tone = halftoned(np.full((64, 64), 0.5, np.float32), rng)
    assert tone.mean() == pytest.approx(0.5, abs=0.05)
    assert tone.std() > 0.2
    grey = np.full((200, 300), 0.5, np.float32)
    share = np.mean(np.abs(scratched(grey, rng) - grey) > 1 / 255)  # more than 8 bit
    assert 0.002 < share < 0.1


def test_every_photo_of_a_theme_is_in_the_list_of_packages():
    names = [entry.path.name for entry in read_list(ROOT / "data_prep" / "photos.tsv")]
    wanted = [name for theme in THEMES.values() for name in theme]
    assert len(wanted) == len(set(wanted)) == 30
    for name in wanted:
        assert any(Path(found).stem[:-9] == name for found in names), name


def test_find(tmp_path):
    (tmp_path / "extra").mkdir()
    photo = tmp_path / "extra" / "lion-01234567.jpg"
    photo.touch()
    (tmp_path / "sealion-01234567.jpg").touch()
    assert find(tmp_path, ["lion"]) == [photo]
    with pytest.raises(PhotoError, match=r"expected a photo called tiger"):
        find(tmp_path, ["lion", "tiger"])


def test_sheet():
    rows = [[np.zeros((20, 40, 3), np.float32), np.ones((20, 40, 3), np.float32)]] * 3
    drawn = sheet(rows)
    assert drawn.size == (2 * 230 + 6, 3 * 20 + 2 * 6)
    assert drawn.getpixel((115, 5)) == (0, 0, 0) and drawn.getpixel((351, 5)) == (255, 255, 255)
    assert shrink(np.full((512, 1024, 3), 0.5, np.float32)).shape == (256, 512, 3)
    assert shrink(np.full((100, 90, 3), 0.5, np.float32)).shape == (100, 90, 3)
