"""Reading and writing photos of every kind, and what is said about files that are none."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from autocolor.imaging.images import (
    ImageError,
    count_pages,
    count_pictures,
    find_photos,
    fit_side,
    image_size,
    read_image,
    resize,
    write_image,
)

RED = (255, 0, 0)


@pytest.fixture
def pixels() -> np.ndarray:
    """Return an (8, 10, 3) uint8 image of random colours."""
    return np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)


def as_bytes(rgb: np.ndarray) -> np.ndarray:
    """Return 8-bit values of a float image, which must lie on the 256 levels."""
    assert rgb.dtype == np.float32
    scaled = rgb * 255
    np.testing.assert_allclose(scaled, np.rint(scaled), atol=1e-4)
    return np.rint(scaled).astype(np.uint8)


def test_png_round_trip(tmp_path: Path, pixels: np.ndarray) -> None:
    write_image(tmp_path / "a.png", pixels.astype(np.float32) / 255)
    photo = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(as_bytes(photo.rgb), pixels)
    assert photo.alpha is None and not photo.is_grey


def test_rgba_round_trip(tmp_path: Path, pixels: np.ndarray) -> None:
    alpha = np.linspace(0, 1, 80, dtype=np.float64).reshape(8, 10)
    write_image(tmp_path / "a.png", pixels / 255, alpha)
    photo = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(as_bytes(photo.rgb), pixels)
    assert photo.alpha is not None
    np.testing.assert_array_equal(as_bytes(photo.alpha), np.rint(alpha * 255))


def test_values_are_rounded_not_cut(tmp_path: Path) -> None:
    values = np.array([0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1])
    write_image(tmp_path / "a.png", np.repeat(values[None, :, None], 3, axis=-1))
    written = np.asarray(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(written[0, :, 0], [0, 0, 1, 255, 255])


def test_jpeg_keeps_fine_colour(tmp_path: Path) -> None:
    # Red and blue columns one pixel wide: chroma subsampling would mix them to purple.
    stripes = np.zeros((16, 16, 3))
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 1
    write_image(tmp_path / "a.jpg", stripes)
    assert np.abs(read_image(tmp_path / "a.jpg").rgb - stripes).mean() < 0.03


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 1, 256], [32768, 65534, 65535]], dtype=np.uint16)
    path = tmp_path / f"deep{suffix}"
    Image.fromarray(values).save(path)
    photo = read_image(path)
    assert photo.is_grey and photo.rgb.shape == (2, 3, 3)
    np.testing.assert_allclose(photo.rgb[..., 1], values / 65535, atol=1e-7)


def test_16_bit_grey_is_turned_upright(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 1000
    image = Image.fromarray(values)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    photo = read_image(tmp_path / "a.png")
    np.testing.assert_allclose(photo.rgb[..., 0], np.rot90(values, -1) / 65535, atol=1e-7)


def test_float_grey(tmp_path: Path) -> None:
    values = np.array([[0, 0.25], [0.5, 1]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").rgb[..., 2], values)
    Image.fromarray(values * 100).save(tmp_path / "b.tif")
    with pytest.raises(ImageError, match=r"b\.tif.*\[0, 1\], got \[0, 100\]"):
        read_image(tmp_path / "b.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, pixels: np.ndarray, orientation: int) -> None:
    # What a viewer does for each orientation, written as numpy operations.
    upright = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90,
    }[orientation]
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(as_bytes(read_image(tmp_path / "a.png").rgb), upright(pixels))


@pytest.mark.parametrize(
    ("mode", "color", "expected", "is_grey"),
    [
        ("1", 1, (255, 255, 255), True),
        ("L", 77, (77, 77, 77), True),
        ("LA", (77, 255), (77, 77, 77), True),
        ("RGBA", (1, 2, 3, 9), (1, 2, 3), False),
    ],
)
def test_modes(tmp_path: Path, mode: str, color, expected, is_grey: bool) -> None:  # type: ignore[no-untyped-def]
    Image.new(mode, (3, 2), color).save(tmp_path / "a.png")
    photo = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(as_bytes(photo.rgb), np.broadcast_to(expected, (2, 3, 3)))
    assert photo.is_grey is is_grey
    assert (photo.alpha is not None) is mode.endswith("A")


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, 0, 0, 255])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=b"\xff\x40")
    photo = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(as_bytes(photo.rgb)[0], [RED, (0, 0, 255)])
    assert photo.alpha is not None
    np.testing.assert_array_equal(as_bytes(photo.alpha)[0], [255, 64])


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg").rgb[8, 8], (1, 0, 0), atol=0.02)


def test_pages(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (2, 2), color) for color in (RED, (0, 255, 0))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:])
    assert tuple(read_image(tmp_path / "a.tif").rgb[0, 0]) == (1, 0, 0)
    assert tuple(read_image(tmp_path / "a.tif", page=1).rgb[0, 0]) == (0, 1, 0)
    with pytest.raises(ImageError, match="a.tif: cannot be read"):
        read_image(tmp_path / "a.tif", page=2)
    assert [count_pages(tmp_path / name) for name in ("a.tif", "a.gif", "none")] == [2, 1, 1]
    assert [count_pictures(tmp_path / name) for name in ("a.tif", "a.gif", "none")] == [2, 2, 1]


def exchange_red_and_green() -> bytes:
    """Return the profile of a device whose red channel lights green, and the other way round."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exchanged = srgb.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    # Rename it too, for profiles called sRGB are not converted.
    return exchanged.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


def test_profile_is_converted(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 2), RED)
    image.save(tmp_path / "a.png", icc_profile=exchange_red_and_green())
    np.testing.assert_allclose(read_image(tmp_path / "a.png").rgb[0, 0], (0, 1, 0), atol=0.02)


def test_profile_leaves_alpha_alone(tmp_path: Path) -> None:
    image = Image.new("RGBA", (2, 2), (*RED, 100))
    image.save(tmp_path / "a.png", icc_profile=exchange_red_and_green())
    photo = read_image(tmp_path / "a.png")
    np.testing.assert_allclose(photo.rgb[0, 0], (0, 1, 0), atol=0.02)
    assert photo.alpha is not None and as_bytes(photo.alpha)[0, 0] == 100


@pytest.mark.parametrize("profile", [b"not a profile", exchange_red_and_green()[:200]])
def test_broken_profile_is_ignored(tmp_path: Path, profile: bytes) -> None:
    Image.new("RGB", (2, 2), RED).save(tmp_path / "a.png", icc_profile=profile)
    assert tuple(read_image(tmp_path / "a.png").rgb[0, 0]) == (1, 0, 0)


def test_profile_of_another_colour_space_is_ignored(tmp_path: Path) -> None:
    Image.new("L", (2, 2), 77).save(tmp_path / "a.png", icc_profile=exchange_red_and_green())
    np.testing.assert_array_equal(as_bytes(read_image(tmp_path / "a.png").rgb)[0, 0], [77] * 3)


# ---- files that are no photos


def jpeg_bytes(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((200, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_truncated_jpeg(tmp_path: Path, pixels: np.ndarray) -> None:
    (tmp_path / "cut.jpg").write_bytes(jpeg_bytes(pixels)[:-2000])
    with pytest.raises(ImageError, match=r"cut\.jpg: cannot be read: .*truncated"):
        read_image(tmp_path / "cut.jpg")


@pytest.mark.parametrize("content", [b"", b"Dear diary", b"\x89PNG\r\n\x1a\n"])
def test_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notes.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=r"notes\.jpg: not an image"):
        read_image(tmp_path / "notes.jpg")


def test_damage_never_escapes(tmp_path: Path, pixels: np.ndarray) -> None:
    # Any damage gives an image or an ImageError, nothing else.
    rng = np.random.default_rng(5)
    good = {"a.jpg": jpeg_bytes(pixels), "a.png": b"", "a.tif": b""}
    for name in ("a.png", "a.tif"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, name[2:].replace("tif", "tiff"))
        good[name] = buffer.getvalue()
    for name, content in good.items():
        for _ in range(60):
            damaged = bytearray(content)
            for place in rng.integers(0, len(damaged), 5):
                damaged[place] = rng.integers(256)
            (tmp_path / name).write_bytes(damaged)
            try:
                assert read_image(tmp_path / name).rgb.ndim == 3
            except ImageError as error:
                assert str(tmp_path / name) in str(error)  # noqa: PT017  an image may survive


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="expected a file, got a folder"):
        read_image(tmp_path)


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    for path, kind in ((tmp_path / "a.png", "named pipe"), (Path("/dev/zero"), "device")):
        for read in (read_image, image_size):
            with pytest.raises(ImageError, match=f"{path}: expected a file, got a {kind}"):
                read(path)
        assert count_pages(path) == 1


def test_too_many_pixels(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    with pytest.raises(ImageError, match="80 pixels"):
        read_image(tmp_path / "a.png")


# ---- writing


def test_failed_writing_leaves_the_old_file(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full_disk(image: Image.Image, partial: Path, **options: object) -> None:
        partial.write_bytes(b"half an ima")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(ImageError, match=r"a\.png: cannot be written: No space left"):
        write_image(path, pixels / 255)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_written_file_has_usual_permissions(tmp_path: Path, pixels: np.ndarray) -> None:
    write_image(tmp_path / "a.png", pixels / 255)
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_wrong_outputs(tmp_path: Path, pixels: np.ndarray) -> None:
    rgb = pixels / 255
    with pytest.raises(ImageError, match=r"ending in \.bmp.*got 'a.txt'"):
        write_image(tmp_path / "a.txt", rgb)
    with pytest.raises(ImageError, match=r"\.jpg stores no transparency"):
        write_image(tmp_path / "a.jpg", rgb, np.ones((8, 10)))
    with pytest.raises(ImageError, match="cannot be written: No such file"):
        write_image(tmp_path / "none" / "a.png", rgb)
    with pytest.raises(ValueError, match=r"alpha: expected shape \(8, 10\)"):
        write_image(tmp_path / "a.png", rgb, np.ones((8, 9)))
    with pytest.raises(ValueError, match="rgb: .*uint8"):
        write_image(tmp_path / "a.png", pixels)


# ---- resizing, finding


def test_resize_is_aligned_at_the_borders() -> None:
    # A horizontal ramp over pixel centres stays the same ramp away from the borders.
    ramp = np.tile((np.arange(64) + 0.5) / 64, (8, 1))
    small = resize(ramp, (4, 16))
    assert small.dtype == np.float32 and small.shape == (4, 16)
    expected = (np.arange(16) + 0.5) / 16
    np.testing.assert_allclose(small[:, 2:-2], np.tile(expected, (4, 1))[:, 2:-2], atol=1e-3)


def test_resize_does_not_alias_and_stays_in_range() -> None:
    stripes = np.tile(np.arange(90) % 2, (90, 1)).astype(np.float64)
    np.testing.assert_allclose(resize(stripes, (30, 30))[5:-5, 5:-5], 0.5, atol=0.05)
    step = np.repeat((np.arange(60) > 29).astype(np.float32)[None], 60, axis=0)
    small = resize(step, (17, 17))
    assert small.min() >= 0 and small.max() <= 1


def test_resize_colour_equals_resized_channels(pixels: np.ndarray) -> None:
    rgb = pixels / 255
    channels = [resize(rgb[..., channel], (5, 3)) for channel in range(3)]
    np.testing.assert_array_equal(resize(rgb, (5, 3)), np.stack(channels, axis=-1))


def test_resize_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"size: expected at least \(1, 1\), got \(0, 3\)"):
        resize(np.zeros((2, 2)), (0, 3))
    with pytest.raises(ValueError, match=r"image: expected shape \(H, W\)"):
        resize(np.zeros(4), (1, 1))


def test_find_photos(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.JPG", "a.png", "c.gif", "notes.txt", ".hidden.png", "sub/d.webp"):
        (tmp_path / name).touch()
    assert [path.name for path in find_photos(tmp_path)] == ["a.png", "b.JPG", "c.gif"]
    found = [path.name for path in find_photos(tmp_path, recursive=True)]
    assert found == ["a.png", "b.JPG", "c.gif", "d.webp"]


def test_fit_side() -> None:
    image = np.random.default_rng(0).random((60, 90, 3))
    assert fit_side(image, 45, "larger").shape == (30, 45, 3)
    assert fit_side(image, 30, "smaller").shape == (30, 45, 3)
    assert fit_side(image[:2], 10, "larger").shape == (1, 10, 3)  # never empty
    np.testing.assert_array_equal(fit_side(image, 30, "smaller"), resize(image, (30, 45)))
    # Never enlarged.
    same = fit_side(image, 90, "larger")
    assert same.dtype == np.float32
    np.testing.assert_array_equal(same, image.astype(np.float32))
    np.testing.assert_array_equal(fit_side(image, 61, "smaller"), same)
    with pytest.raises(ValueError, match="side: expected at least 1, got 0"):
        fit_side(image, 0, "larger")
