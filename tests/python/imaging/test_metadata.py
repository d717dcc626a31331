"""EXIF, resolution and profile of a photo are those of its colorization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from autocolor.imaging.images import read_image, write_image
from helpers.tiff_writer import LONG, SHORT, Page, rationals, write_tiff

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF, GPS = 0x8769, 0x8825


def make_exif(orientation: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E], exif[0x010F], exif[0x8298] = "A street", "A maker", "Someone, 1931"
    exif[EXIF] = {0x9003: "1931:05:06 07:08:09", 0x829A: 0.008, 0xA002: 40, 0xA003: 20}
    exif[GPS] = {1: "N", 2: (48.0, 51.0, 30.0)}
    return exif


def result_of(source: Path, result: Path) -> Image.Image:
    photo = read_image(source)
    write_image(result, photo.rgb, photo.alpha, photo.metadata)
    image = Image.open(result)
    image.load()
    return image


@pytest.mark.parametrize("result", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("source", [".png", ".jpg", ".tif", ".webp"])
def test_carried(tmp_path: Path, source: str, result: str) -> None:
    path = tmp_path / f"a{source}"
    Image.new("RGB", (40, 20), (9, 99, 199)).save(
        path, exif=make_exif().tobytes(), dpi=(300, 200), icc_profile=SRGB
    )
    image = result_of(path, tmp_path / f"b{result}")
    assert image.size == (20, 40)
    exif = image.getexif()
    assert exif[0x0112] == 1
    assert (exif[0x010E], exif[0x010F], exif[0x8298]) == ("A street", "A maker", "Someone, 1931")
    details = exif.get_ifd(EXIF)
    assert details[0x9003] == "1931:05:06 07:08:09"
    assert float(details[0x829A]) == pytest.approx(0.008)
    assert 0xA002 not in details  # that of the file before it was turned
    assert [float(part) for part in exif.get_ifd(GPS)[2]] == [48, 51, 30]
    assert image.info["icc_profile"] == SRGB
    if ".webp" not in (source, result):  # it has no place for it
        assert image.info["dpi"] == pytest.approx((200, 300), abs=0.1)


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_tiff_without_exif(tmp_path: Path, order: str, big: bool) -> None:
    """The descriptions of its own directory, of the right page; a resolution in centimetres."""
    pages = []
    for number in (1, 2):
        page = Page(np.zeros((4, 6, 1), np.uint8), 8, 1, orientation=8)
        text = f"page {number}".encode() + b"\0"
        page.tags = {
            270: (2, list(text)),
            282: rationals(100),
            283: rationals(50),
            296: (SHORT, [3]),
            254: (LONG, [0]),
        }
        pages.append(page)
    (tmp_path / "a.tif").write_bytes(write_tiff(pages, order, big=big))
    photo = read_image(tmp_path / "a.tif", 1)
    write_image(tmp_path / "b.png", photo.rgb, metadata=photo.metadata)
    with Image.open(tmp_path / "b.png") as image:
        assert image.getexif()[0x010E] == "page 2" and image.getexif()[0x0112] == 1
        assert image.info["dpi"] == pytest.approx((127, 254), abs=0.1)


def test_nothing_is_carried_from_nothing(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    image = result_of(tmp_path / "a.png", tmp_path / "b.png")
    assert not len(image.getexif())
    assert not {"exif", "dpi", "icc_profile"} & set(image.info)


def test_what_says_how_other_pixels_lie_is_left_out(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.tif", description='{"shape": [9, 4, 4]}')
    assert read_image(tmp_path / "a.tif").metadata.exif == b""


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", make_exif().tobytes()[:60]])
def test_damaged_exif_is_no_damaged_photo(tmp_path: Path, exif: bytes) -> None:
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "a.jpg", exif=exif)
    assert result_of(tmp_path / "a.jpg", tmp_path / "b.jpg").size == (4, 4)


@pytest.mark.parametrize("dpi", [(0, 0), (70000, 70000)])
def test_impossible_resolution(tmp_path: Path, dpi: tuple[int, int]) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", dpi=dpi)
    assert "dpi" not in result_of(tmp_path / "a.png", tmp_path / "b.jpg").info


def test_exif_that_is_too_long_for_jpeg(tmp_path: Path) -> None:
    exif = make_exif()
    exif[0x010E] = "long " * 20000
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", exif=exif)
    assert 0x010F not in result_of(tmp_path / "a.png", tmp_path / "b.jpg").getexif()
    assert result_of(tmp_path / "a.png", tmp_path / "b.png").getexif()[0x010F] == "A maker"
