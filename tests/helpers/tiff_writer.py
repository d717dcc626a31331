"""A writer of TIFF files of any kind, byte by byte after TIFF 6.0: it knows no library of TIFF."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773
SHORT, LONG, RATIONAL, UNDEFINED = 3, 4, 5, 7


@dataclass
class Page:
    """Samples (H, W, C) as integers or floats, as they are stored, and how."""

    samples: np.ndarray
    bits: int
    photometric: int
    orientation: int = 1
    planar: int = 1
    compression: int = NONE
    predictor: int = 1
    rows: int = 3  # of a strip
    tile: int = 0  # side, a multiple of 16
    extras: Sequence[int] = ()
    tags: dict[int, tuple[int, Sequence[int]]] = field(default_factory=dict)  # type, values


def lay(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Lay an upright picture into the rows of a file: where its first row and column are seen."""
    row, column = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    height, width = upright.shape[:2]
    ways = {
        "top": range(height),
        "bottom": range(height)[::-1],
        "left": range(width),
        "right": range(width)[::-1],
    }
    by_row = orientation <= 4
    return np.array(
        [[upright[y, x] if by_row else upright[x, y] for x in ways[column]] for y in ways[row]]
    )


def write_tiff(pages: Iterable[Page], order: str = "<", *, big: bool = False) -> bytes:
    """Return a file; `order` is "<" or ">"."""
    start = b"II" if order == "<" else b"MM"
    offset_form, count_form, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    room = struct.calcsize(offset_form)
    content = bytearray(
        start + struct.pack(order + ("HHH" if big else "H"), *((43, 8, 0) if big else (42,)))
    )
    link = len(content)
    content += bytes(room)
    for page in pages:
        tags = _tags(page, order, content)
        content += bytes(len(content) % 2)
        struct.pack_into(order + offset_form, content, link, len(content))
        directory = struct.pack(order + count_form, len(tags))
        beyond = len(content) + len(directory) + entry * len(tags) + room
        values = b""
        for code, (kind, numbers) in sorted(tags.items()):
            form = {2: "B", SHORT: "H", LONG: "I", RATIONAL: "I", UNDEFINED: "B"}[kind]
            packed = struct.pack(f"{order}{len(numbers)}{form}", *numbers)
            count = len(numbers) // (2 if kind == RATIONAL else 1)
            directory += struct.pack(f"{order}HH{offset_form}", code, kind, count)
            if len(packed) <= room:
                directory += packed.ljust(room, b"\0")
            else:
                directory += struct.pack(order + offset_form, beyond + len(values))
                values += packed + bytes(len(packed) % 2)
        content += directory
        link = len(content)
        content += bytes(room) + values
    return bytes(content)


def _tags(page: Page, order: str, content: bytearray) -> dict[int, tuple[int, Sequence[int]]]:
    height, width, count = page.samples.shape
    side = page.tile
    planes = [page.samples]
    if page.planar == 2:
        planes = [page.samples[..., index : index + 1] for index in range(count)]
    offsets, sizes = [], []
    for plane in planes:
        for part in _parts(plane, page):
            packed = _compress(page, _pack(_predict(part, page), page.bits, order))
            offsets.append(len(content))
            sizes.append(len(packed))
            content += packed
    is_float = page.samples.dtype.kind == "f"
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [page.bits] * count),
        259: (SHORT, [page.compression]),
        262: (SHORT, [page.photometric]),
        274: (SHORT, [page.orientation]),
        277: (SHORT, [count]),
        284: (SHORT, [page.planar]),
    }
    if side:
        tags |= {322: (LONG, [side]), 323: (LONG, [side]), 324: (LONG, offsets), 325: (LONG, sizes)}
    else:
        tags |= {273: (LONG, offsets), 278: (LONG, [page.rows]), 279: (LONG, sizes)}
    if page.predictor != 1:
        tags[317] = (SHORT, [page.predictor])
    if page.extras:
        tags[338] = (SHORT, page.extras)
    if is_float:
        tags[339] = (SHORT, [3] * count)
    return tags | page.tags


def _parts(plane: np.ndarray, page: Page) -> Iterable[np.ndarray]:
    height, width = plane.shape[:2]
    if not page.tile:
        for top in range(0, height, page.rows):
            yield plane[top : top + page.rows]
        return
    for top in range(0, height, page.tile):
        for left in range(0, width, page.tile):
            tile = np.zeros((page.tile, page.tile, plane.shape[2]), plane.dtype)
            part = plane[top : top + page.tile, left : left + page.tile]
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def _predict(part: np.ndarray, page: Page) -> np.ndarray:
    if page.predictor == 1:
        return part
    wide = part.astype(np.int64)
    wide[:, 1:] -= part[:, :-1].astype(np.int64)
    return (wide % (1 << page.bits)).astype(part.dtype)


def _pack(part: np.ndarray, bits: int, order: str) -> bytes:
    if part.dtype.kind == "f":
        return part.astype(f"{order}f{bits // 8}").tobytes()
    if bits in (8, 16, 32):
        return part.astype(f"{order}u{bits // 8}").tobytes()
    rows = []
    for row in part.reshape(len(part), -1):
        text = "".join(f"{int(value):0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return b"".join(rows)


def _compress(page: Page, data: bytes) -> bytes:
    if page.compression == DEFLATE:
        return zlib.compress(data)
    if page.compression == PACKBITS:
        runs = [data[start : start + 128] for start in range(0, len(data), 128)]
        return b"".join(bytes([len(run) - 1]) + run for run in runs)
    if page.compression == LZW:  # of 9 bits, for the table is cleared before it needs more
        codes = []
        for place, byte in enumerate(data):
            codes += [256, byte] if place % 250 == 0 else [byte]
        text = "".join(f"{code:09b}" for code in [*codes, 257])
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")
    return data


def rationals(*values: float) -> tuple[int, list[Any]]:
    """Return a tag's value of numbers with 4 digits."""
    return RATIONAL, [part for value in values for part in (round(value * 10000), 10000)]
