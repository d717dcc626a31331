"""A tree of photos as ImageNet has it, a folder a class, with every kind of odd file among them."""

from __future__ import annotations

import os
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

SYNSETS = ("n01440764", "n01443537", "n02084071")


@cache
def _coffee() -> Image.Image:
    return Image.fromarray(skimage.data.coffee())


def small_photo(rng: np.random.Generator, size: tuple[int, int] = (60, 48)) -> Image.Image:
    """Return a random part of a real photo."""
    source = _coffee()
    left = int(rng.integers(source.width - 120))
    top = int(rng.integers(source.height - 96))
    return source.crop((left, top, left + 120, top + 96)).resize(size)


def png_16_bit(pixels: np.ndarray) -> bytes:
    """Encode a (H, W, 3) uint16 image, which Pillow cannot."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(width, height, 16, rows)


def png(width: int, height: int, depth: int, rows: bytes) -> bytes:
    """Return a PNG file of an RGB image."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def write_tree(folder: Path, count: int) -> None:
    """Write `count` good photos, dealt out to the classes."""
    rng = np.random.default_rng(0)
    for index in range(count):
        path = folder / SYNSETS[index % len(SYNSETS)] / f"{index:05d}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        small_photo(rng).save(path, quality=95)


def write_odd_files(folder: Path) -> tuple[set[Path], dict[Path, str]]:
    """Write odd files into the folders of the classes; returns the good ones, and why others are not."""
    rng = np.random.default_rng(1)
    first, second, third = (folder / synset for synset in SYNSETS)
    for path in (first, second, third):
        path.mkdir(parents=True, exist_ok=True)
    good = {
        first / "with space 12.JPEG",
        first / "line\nbreak.JPEG",
        second / '"quoted".JPEG',
        third / os.fsdecode(b"caf\xe9.JPEG"),
        third / "CMYK.JPEG",
        third / "sixteen.png",
    }
    for path in sorted(good):
        image = small_photo(rng)
        if path.name == "sixteen.png":
            path.write_bytes(png_16_bit(np.asarray(image).astype(np.uint16) * 257))
        else:
            image.convert("CMYK" if path.name.startswith("CMYK") else "RGB").save(path)
    bad = {
        first / "truncated.JPEG": "cannot be read",
        first / "empty.JPEG": "not an image",
        first / "text.JPEG": "not an image",
        second / "grey.JPEG": "no colour",
        second / "deep_grey.png": "no colour",
        third / "bomb.png": "exceeds limit",
        third / "thin.png": "sides of at most",
    }
    encoded = folder / "whole.jpg"
    small_photo(rng).save(encoded)
    (first / "truncated.JPEG").write_bytes(encoded.read_bytes()[:700])
    encoded.unlink()
    (first / "empty.JPEG").touch()
    (first / "text.JPEG").write_text("not an image")
    small_photo(rng).convert("L").save(second / "grey.JPEG")
    grey = np.asarray(small_photo(rng).convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(second / "deep_grey.png")
    (third / "bomb.png").write_bytes(png(60_000, 60_000, 8, b""))
    (third / "thin.png").write_bytes(png(1, 20_000, 8, 20_000 * b"\0\xff\0\0"))
    return good, bad
