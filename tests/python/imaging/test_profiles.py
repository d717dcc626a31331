"""ICC profiles are judged by what they do to colours, in every depth, on the way in and out."""

from __future__ import annotations

import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from autocolor.imaging.images import ImageError, read_image, write_image
from autocolor.imaging.metadata import Metadata

REPORTS = Path(__file__).resolve().parents[2] / "fixtures" / "reports"
LEVELS = np.linspace(0, 1, 16)


def curve(gamma: float) -> bytes:
    return struct.pack(">4sIIH", b"curv", 0, 1, round(gamma * 256)) + bytes(2)


def xyz(*values: float) -> bytes:
    return struct.pack(">4sI3i", b"XYZ ", 0, *(round(value * 65536) for value in values))


def profile(
    space: bytes, tags: dict[bytes, bytes], name: str, kind: bytes = b"mntr", pcs: bytes = b"XYZ "
) -> bytes:
    """A profile of version 2, byte by byte."""
    text = name.encode() + b"\0"
    described = struct.pack(">4sII", b"desc", 0, len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)
    tags = {b"desc": described, b"wtpt": xyz(0.9642, 1, 0.8249), **tags}
    place, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", tag, place + len(body), len(content))
        body += content
    header = struct.pack(">I4sI4s4s4s", place + len(body), b"", 0x02400000, kind, space, pcs)
    header += struct.pack(">6H4s4sI4sI8sI", 2026, 1, 1, 0, 0, 0, b"acsp", b"", 0, b"", 0, b"", 0)
    header += struct.pack(">3i", 63190, 65536, 54061)  # D50, the illuminant
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def grey_profile(gamma: float, name: str = "a grey") -> bytes:
    return profile(b"GRAY", {b"kTRC": curve(gamma)}, name)


def rgb_profile(gamma: float, name: str = "a screen") -> bytes:
    """The primaries of sRGB for the white of D50."""
    return profile(
        b"RGB ",
        {
            b"rXYZ": xyz(0.4360, 0.2225, 0.0139),
            b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
            b"bXYZ": xyz(0.1431, 0.0606, 0.7139),
            **{tag: curve(gamma) for tag in (b"rTRC", b"gTRC", b"bTRC")},
        },
        name,
    )


def ink_profile() -> bytes:
    """Inks that all are grey: L* falls in proportion to cyan, magenta and yellow, and to black."""
    lightnesses = [
        round(255 * (1 - (cyan + magenta + yellow) / 3) * (1 - black))
        for cyan, magenta, yellow, black in itertools.product((0, 1), repeat=4)
    ]
    unit = [65536 if place % 4 == 0 else 0 for place in range(9)]
    table = struct.pack(">4sI4B9i", b"mft1", 0, 4, 3, 2, 0, *unit) + bytes(range(256)) * 4
    table += b"".join(bytes([light, 128, 128]) for light in lightnesses) + bytes(range(256)) * 3
    return profile(b"CMYK", {b"A2B0": table}, "inks", b"prtr", b"Lab ")


def encoded(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_reported_file() -> None:
    with np.load(REPORTS / "expected.npz") as expected:
        found = read_image(REPORTS / "icc_srgb_linear.png").rgb.mean(axis=-1)
        # Of 8 bits of linear light a step is 0.01 where it is dark.
        np.testing.assert_allclose(found, expected["icc_srgb_linear.png"], atol=0.006)


@pytest.mark.parametrize("name", ["a screen", "sRGB IEC61966-2.1"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_name_makes_no_profile_srgb(tmp_path: Path, suffix: str, name: str) -> None:
    pixels = np.repeat(np.rint(LEVELS * 255).astype(np.uint8)[:, None, None], 16, 1).repeat(3, 2)
    options = {".jpg": {"quality": 100}, ".webp": {"lossless": True}}.get(suffix, {})
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels).save(path, icc_profile=rgb_profile(1, name), **options)
    np.testing.assert_allclose(read_image(path).rgb, encoded(pixels / 255), atol=0.004)


def test_what_is_srgb_changes_nothing(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    renamed = srgb.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    assert renamed != srgb
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=renamed)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").rgb, pixels / np.float32(255))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey(tmp_path: Path, suffix: str, dtype: type) -> None:
    values = np.rint(LEVELS * np.iinfo(dtype).max).astype(dtype).reshape(4, 4)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(values).save(path, icc_profile=grey_profile(1))
    photo = read_image(path)
    expected = encoded(values / np.iinfo(dtype).max)
    assert photo.is_grey
    np.testing.assert_allclose(photo.rgb, np.repeat(expected[..., None], 3, -1), atol=1e-4)
    np.testing.assert_array_equal(photo.rgb[..., 0], photo.rgb[..., 2])
    assert photo.metadata.profile is None  # colours have none of grey


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_inks(tmp_path: Path, suffix: str) -> None:
    inks = [(0, 0, 0, 0), (1, 0, 0, 0), (1, 1, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0.6)]
    path = tmp_path / f"a{suffix}"
    pixels = np.rint(np.array(inks) * 255).astype(np.uint8).repeat(16, 0)[None].repeat(16, 0)
    image = Image.frombytes("CMYK", pixels.shape[1::-1], pixels.tobytes())
    image.save(path, icc_profile=ink_profile(), **({"quality": 100} if suffix == ".jpg" else {}))
    photo = read_image(path)
    light = np.array([100 * (1 - sum(ink[:3]) / 3) * (1 - ink[3]) for ink in inks])
    luminance = np.where(light > 8, ((light + 16) / 116) ** 3, light / 903.3)
    np.testing.assert_allclose(
        photo.rgb[8, 8::16], np.repeat(encoded(luminance)[:, None], 3, 1), atol=0.006
    )
    assert photo.metadata.profile is None and not photo.is_grey


def png(depth: int, kind: int, rows: list[bytes], **chunks: bytes) -> bytes:
    """A PNG, byte by byte, of 4 pixels a row."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">2I5B", 4, len(rows), depth, kind, 0, 0, 0)
    others = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + others
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def test_colour_of_16_bit(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 12).astype(np.uint16)
    iccp = b"a\0\0" + zlib.compress(rgb_profile(1))
    content = png(16, 2, [values.astype(">u2").tobytes()], iCCP=iccp)
    (tmp_path / "a.png").write_bytes(content)
    expected = encoded(values / 65535).reshape(1, 4, 3)
    # The numbers of a profile have 16 bits behind the point.
    np.testing.assert_allclose(read_image(tmp_path / "a.png").rgb, expected, atol=5e-4)


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_png_of_16_bit(tmp_path: Path, damage: str) -> None:
    values = np.random.default_rng(5).integers(0, 65536, 4 * 40).astype(">u2").reshape(40, 4)
    content = bytearray(png(16, 0, [row.tobytes() for row in values]))
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 255
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.png: cannot be read: "):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("depth", "kind", "row", "key"),
    [
        (16, 0, struct.pack(">4H", 0, 1000, 1001, 65535), struct.pack(">H", 1000)),
        (
            16,
            2,
            struct.pack(">12H", 0, 0, 0, 1000, 9, 9, 1001, 9, 9, *[65535] * 3),
            struct.pack(">3H", 1000, 9, 9),
        ),
        (8, 0, bytes([0, 5, 85, 255]), struct.pack(">H", 5)),
        (4, 0, bytes([0x05, 0x6F]), struct.pack(">H", 5)),
        (2, 0, bytes([0b00011011]), struct.pack(">H", 1)),
        (8, 2, bytes([0, 0, 0, 3, 3, 3, 4, 3, 3, 255, 255, 255]), struct.pack(">3H", 3, 3, 3)),
    ],
)
def test_transparent_colour(tmp_path: Path, depth: int, kind: int, row: bytes, key: bytes) -> None:
    """Of each four pixels the second is the one."""
    (tmp_path / "a.png").write_bytes(png(depth, kind, [row], tRNS=key))
    photo = read_image(tmp_path / "a.png")
    assert photo.is_grey == (kind == 0)
    np.testing.assert_array_equal(photo.alpha, [[1, 0, 1, 1]])
    if depth == 16:
        np.testing.assert_allclose(photo.rgb[0, 1, 0], 1000 / 65535, atol=1e-6)


def test_16_bit_with_alpha_is_turned_upright(tmp_path: Path) -> None:
    values = np.arange(16, dtype=np.uint16) * 4000
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = [values.astype(">u2").tobytes()]
    (tmp_path / "a.png").write_bytes(
        png(16, 6, rows, eXIf=exif.tobytes().removeprefix(b"Exif\0\0"))
    )
    photo = read_image(tmp_path / "a.png")
    expected = values.reshape(4, 1, 4) / 65535
    np.testing.assert_allclose(photo.rgb, expected[..., :3], atol=1e-6)
    np.testing.assert_allclose(photo.alpha, expected[..., 3], atol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg", ".bmp"])
@pytest.mark.parametrize("gamma", [2.2, 1.8])
def test_result_is_stored_by_the_profile_of_the_photo(
    tmp_path: Path, gamma: float, suffix: str
) -> None:
    rgb = np.random.default_rng(1).random((16, 16, 3)).repeat(8, 0).repeat(8, 1)
    path = tmp_path / f"a{suffix}"
    write_image(path, rgb, metadata=Metadata(profile=rgb_profile(gamma)))
    with Image.open(path) as written:
        assert written.info.get("icc_profile") == (None if suffix == ".bmp" else rgb_profile(gamma))
    difference = np.abs(read_image(path).rgb - rgb)
    assert (
        np.median(difference) < 0.02 if suffix == ".webp" else np.quantile(difference, 0.9) < 0.02
    )
    if suffix in (".png", ".tif", ".bmp"):
        assert difference.max() < 1.1 / 255


@pytest.mark.parametrize("unfit", [rgb_profile(1), grey_profile(2.2), b"not a profile"])
def test_profile_that_cannot_hold_a_result_is_left_out(tmp_path: Path, unfit: bytes) -> None:
    """8 bits of linear light lose what is dark; grey holds no colours."""
    rgb = np.random.default_rng(2).random((8, 8, 3))
    write_image(tmp_path / "a.png", rgb, metadata=Metadata(profile=unfit))
    with Image.open(tmp_path / "a.png") as written:
        assert "icc_profile" not in written.info
        np.testing.assert_array_equal(np.asarray(written), np.rint(rgb * 255))
