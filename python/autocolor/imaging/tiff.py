"""Read TIFF files with tifffile, whose samples are taken for what the tags say, or refused.

Pillow reads many a scan wrong: min-is-white in 16 bit as a negative, turned strips as noise.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from autocolor.core.errors import AutocolorError
from autocolor.imaging.metadata import Metadata, carried
from autocolor.imaging.profiles import Space

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

# Classic and big TIFF in both byte orders.
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = range(4)
_CMYK, _YCBCR, _CIELAB, _ICCLAB = 5, 6, 8, 9
_COLORS: dict[int, tuple[Space, int]] = {
    _WHITE_IS_ZERO: ("grey", 1),
    _BLACK_IS_ZERO: ("grey", 1),
    _RGB: ("rgb", 3),
    _PALETTE: ("rgb", 1),
    _CMYK: ("cmyk", 4),
    _YCBCR: ("rgb", 3),
    _CIELAB: ("lab", 3),
    _ICCLAB: ("lab", 3),
}
_FAX = (2, 3, 4)
_JPEG = (7,)
_JPEG_END = b"\xff\xd9"
# Streams with a header of their own, which may say another size than the tags.
_PICTURES = (*_JPEG, 33003, 33004, 33005, 34712, 34933, 50001)
# None, faxes, LZW, Deflate (two numbers), PackBits, LZMA, Zstandard.
_COMPRESSIONS = (1, *_FAX, 5, 8, 32946, 32773, 34925, 50000, *_PICTURES)
_MOST_SAMPLES = 8
_ASSOCIATED, _UNASSOCIATED = 1, 2  # alpha
_PERCEPTIBLE = 1 / 65535


class TiffError(AutocolorError):
    """A TIFF file that is damaged, or of a kind that is not read."""


@dataclass(frozen=True)
class TiffImage:
    """A page, upright."""

    #: (H, W, C) float32 array in [0, 1]. See :func:`autocolor.imaging.profiles.to_srgb`.
    values: npt.NDArray[np.float32]
    space: Space
    alpha: npt.NDArray[np.float32] | None  #: (H, W) float32 array in [0, 1], or None
    metadata: Metadata


def is_tiff(path: Path) -> bool:
    """Return whether a file begins as a TIFF file does."""
    with path.open("rb") as stream:
        return stream.read(4) in _MAGIC


def count_pages(path: Path) -> int:
    """Return the number of pages, without thumbnails and masks."""
    with _opened(path) as file:
        return len(_pages(file))


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of the first page as its tags say them."""
    with _opened(path) as file:
        return _checked_size(_pages(file)[0])


def read_tiff(path: Path, number: int = 0) -> TiffImage:
    """Read a page, from 0.

    Raises
    ------
    TiffError
        On what is not read.
    Exception
        Of tifffile or a decoder, on a damaged file.
    """
    with _opened(path) as file:
        pages = _pages(file)
        if number >= len(pages):
            raise TiffError(f"expected a page of {len(pages)}, got number {number + 1}")
        page = pages[number]
        _check_kind(page)
        _check_segments(file, page)
        samples = page.asarray(squeeze=False, maxworkers=1)
        # (planes, 1, H, W, samples of a plane)
        samples = (
            samples[0, 0] if page.planarconfig == 1 else np.moveaxis(samples[:, 0, ..., 0], 0, -1)
        )
        space, count = _COLORS[_photometric(page)]
        alpha = _alpha(page, samples, count)
        values = _colors(page, samples[..., :count])
        if alpha is not None and _associated(page):
            opacity = np.maximum(alpha, _PERCEPTIBLE)[..., None]
            values = np.minimum(values / opacity, 1)
        orientation = _orientation(page)
        return TiffImage(
            np.ascontiguousarray(upright(values, orientation)),
            space,
            None if alpha is None else np.ascontiguousarray(upright(alpha, orientation)),
            _metadata(path, page, turned=orientation >= 5),
        )


@contextmanager
def _opened(path: Path) -> Iterator[TiffFile]:
    from tifffile import TiffFile  # takes part of a second, which other photos need not wait

    # It logs what it finds odd; what makes a page unreadable raises.
    logger, quiet = logging.getLogger("tifffile"), logging.NullHandler()
    logger.addHandler(quiet)
    try:
        with TiffFile(path) as file:
            yield file
    finally:
        logger.removeHandler(quiet)


def _pages(file: TiffFile) -> list[TiffPage]:
    """Return the pages that are pictures of their own; all of them if none says so."""
    pages: list[Any] = list(file.pages)
    if not pages:
        raise TiffError("expected a page, got none")
    reduced, mask = 1, 4
    return [page for page in pages if not page.subfiletype & (reduced | mask)] or pages


def check_pixels(width: int, height: int) -> None:
    """Refuse a size that Pillow would refuse for any other photo, before memory is taken."""
    if width < 1 or height < 1:
        raise TiffError(f"expected at least 1 x 1 pixels, got {width} x {height}")
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise TiffError(f"expected at most {2 * limit} pixels, got {width * height} pixels")


def _checked_size(page: TiffPage) -> tuple[int, int]:
    height, width = int(page.imagelength), int(page.imagewidth)
    check_pixels(width, height)
    return height, width


def _photometric(page: TiffPage) -> int:
    """Return what the samples mean; without the tag what libtiff takes them for."""
    if 262 in page.tags:
        return int(page.photometric)
    colors = page.samplesperpixel - len(page.extrasamples)
    if colors == 1:
        return _WHITE_IS_ZERO if page.compression in _FAX else _BLACK_IS_ZERO
    return _RGB if colors == 3 else -1


def _orientation(page: TiffPage) -> int:
    value = page.tags.valueof(274, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _associated(page: TiffPage) -> bool:
    return _ASSOCIATED in page.extrasamples and _UNASSOCIATED not in page.extrasamples


def _check_kind(page: TiffPage) -> None:
    """Refuse what is not read, by the tags alone."""
    _checked_size(page)
    if page.imagedepth != 1 or page.tiledepth != 1:
        raise TiffError(f"expected a picture, got a volume of {page.imagedepth} slices")
    photometric, extras = _photometric(page), page.extrasamples
    if photometric not in _COLORS:
        raise TiffError(
            "expected grey, RGB, palette, CMYK, YCbCr or Lab, got photometric interpretation "
            f"{page.tags.valueof(262)} with {page.samplesperpixel} samples a pixel"
        )
    if page.compression not in _COMPRESSIONS:
        raise TiffError(f"cannot be decompressed: compression {page.compression!s}")
    if page.planarconfig not in (1, 2):
        raise TiffError(f"expected planar configuration 1 or 2, got {page.planarconfig}")
    bits = page.bitspersample
    floating = page.sampleformat == 3
    if not isinstance(bits, int) or page.sampleformat not in (1, 3) or not 1 <= bits <= 64:
        raise TiffError(
            f"expected unsigned integers or floats of one size, got sample format "
            f"{page.sampleformat} with {bits} bits"
        )
    count = _COLORS[photometric][1]
    missing = page.samplesperpixel - count - len(extras)
    # Many writers leave out the tag of an alpha channel.
    if missing != 0 and not (photometric == _RGB and missing == 1 and not extras):
        raise TiffError(
            f"expected {count} samples a pixel and those that tag 338 explains, got "
            f"{page.samplesperpixel}"
        )
    if page.samplesperpixel > _MOST_SAMPLES:
        raise TiffError(
            f"expected at most {_MOST_SAMPLES} samples a pixel, got {page.samplesperpixel}"
        )
    if _associated(page) and photometric not in (_BLACK_IS_ZERO, _RGB, _YCBCR):
        raise TiffError(
            f"expected no premultiplied alpha with photometric interpretation {photometric}"
        )
    if photometric in (_CIELAB, _ICCLAB) and (floating or bits not in (8, 16)):
        raise TiffError(f"expected Lab in 8 or 16 bit, got {bits} bits")
    if photometric == _PALETTE:
        colors = np.size(page.tags.valueof(320, ()))
        if floating or bits > 16 or colors != 3 << bits:
            raise TiffError("expected a palette of 3 colours for every index")
    if photometric == _CMYK and (page.tags.valueof(332, 1) != 1 or not _full_range(page)):
        raise TiffError("expected inks cyan, magenta, yellow and black from 0 to the maximum")
    if photometric == _YCBCR and (
        floating or (page.compression in _PICTURES and page.compression not in _JPEG)
    ):
        raise TiffError("expected YCbCr in integers, plain or as JPEG")
    if page.predictor not in (1, 2, 3) or (page.predictor == 3) > floating:
        raise TiffError(f"cannot be decompressed: predictor {page.predictor}")
    if page.predictor != 1 and bits not in (8, 16, 32, 64):
        raise TiffError(f"cannot be decompressed: predictor {page.predictor} with {bits} bits")


def _full_range(page: TiffPage) -> bool:
    span = page.tags.valueof(336)
    full = (0, (1 << page.bitspersample) - 1)
    return span is None or all(
        tuple(span[start : start + 2]) == full for start in range(0, len(span), 2)
    )


def _check_segments(file: TiffFile, page: TiffPage) -> None:
    """Refuse strips and tiles that are missing, beyond the file's end or larger than a photo may be."""
    if page.is_tiled:
        check_pixels(page.tilewidth, page.tilelength)
    count = math.prod(page.chunked)
    offsets, sizes = page.dataoffsets, page.databytecounts
    if len(offsets) < count or len(sizes) < count:
        raise TiffError(f"expected {count} strips or tiles, got {min(len(offsets), len(sizes))}")
    end = file.filehandle.size
    for offset, size in zip(offsets[:count], sizes[:count], strict=True):
        if offset < 8 or size < 1 or offset + size > end:
            raise TiffError(
                f"is cut short: expected {size} bytes at {offset}, got a file of {end} bytes"
            )
        if page.compression in _PICTURES:
            file.filehandle.seek(offset)
            stream = file.filehandle.read(size)
            # Without its end its decoder would fill the rest with grey.
            if page.compression in _JPEG and _JPEG_END not in stream:
                raise TiffError("is cut short: expected the end of a JPEG stream")
            with Image.open(
                io.BytesIO(stream), formats=("JPEG", "JPEG2000", "PNG", "WEBP")
            ) as picture:
                check_pixels(picture.width, picture.height)


def _full_scale(page: TiffPage) -> float:
    return 1.0 if page.sampleformat == 3 else float((1 << page.bitspersample) - 1)


def _scaled(page: TiffPage, samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = samples.astype(np.float32)
    if page.sampleformat == 3 and not (values.min() >= 0 and values.max() <= 1):
        raise TiffError(f"expected values in [0, 1], got [{values.min():g}, {values.max():g}]")
    values /= np.float32(_full_scale(page))
    return values


def _alpha(page: TiffPage, samples: npt.NDArray[Any], count: int) -> npt.NDArray[np.float32] | None:
    extras = page.extrasamples
    if not extras and page.samplesperpixel == count + 1:
        return _scaled(page, samples[..., count])
    for kind in (_UNASSOCIATED, _ASSOCIATED):
        if kind in extras:
            return _scaled(page, samples[..., count + list(extras).index(kind)])
    return None


def _colors(page: TiffPage, samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    photometric = _photometric(page)
    if photometric == _PALETTE:
        palette = np.asarray(page.tags.valueof(320)).reshape(3, -1).T
        # Some writers store 8 bits, as libtiff knows too.
        palette = palette.astype(np.float32) / np.float32(255 if palette.max() < 256 else 65535)
        colors: npt.NDArray[np.float32] = palette[samples[..., 0].astype(np.uint16)]
        return colors
    if photometric in (_CIELAB, _ICCLAB):
        return _lab(photometric, page.bitspersample, samples)
    values = _scaled(page, samples)
    if photometric == _WHITE_IS_ZERO:
        return np.subtract(1, values, out=values)
    if photometric == _YCBCR and page.compression not in _JPEG:  # which its decoder makes RGB
        return _from_ycbcr(page, values)
    return values


def _lab(photometric: int, bits: int, samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return L / 100, (a + 128) / 255, (b + 128) / 255."""
    values = samples.astype(np.float32)
    if bits == 16 and photometric == _ICCLAB:
        values /= 0xFF00  # is 100 and 127; a and b of 0 are 0x8000
        values[..., 1:] *= 0xFF00 / 256 / 255
    else:
        full = (1 << bits) - 1
        values[..., 0] /= full
        if photometric == _CIELAB:  # a and b have signs
            half = 1 << (bits - 1)
            values[..., 1:] = (values[..., 1:] + half) % (1 << bits)
        values[..., 1:] /= 255 << (bits - 8)
    return np.clip(values, 0, 1, out=values)


def _from_ycbcr(page: TiffPage, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return RGB by the formulas of TIFF 6.0, section 21."""
    full = _full_scale(page)
    half = (1 << page.bitspersample) // 2
    red, green, blue = _rationals(page, 529) or (0.299, 0.587, 0.114)
    ranges = _rationals(page, 532) or (0, full, half, full, half, full)
    if min(red, green, blue) <= 0 or len(ranges) != 6:
        raise TiffError("expected 3 positive coefficients of YCbCr and 6 reference values")
    codes = (full, half - 1, half - 1)
    parts = []
    for channel, code in enumerate(codes):
        black, white = ranges[2 * channel : 2 * channel + 2]
        if white <= black:
            raise TiffError("expected reference whites above blacks")
        parts.append((values[..., channel] * full - black) * code / (white - black) / full)
    light, bluish, reddish = parts
    result = np.empty_like(values)
    result[..., 0] = light + reddish * (2 - 2 * red)
    result[..., 2] = light + bluish * (2 - 2 * blue)
    result[..., 1] = (light - blue * result[..., 2] - red * result[..., 0]) / green
    return np.clip(result, 0, 1, out=result)


def _rationals(page: TiffPage, code: int) -> tuple[float, ...] | None:
    values = page.tags.valueof(code)
    if values is None:
        return None
    return tuple(
        numerator / denominator
        for numerator, denominator in zip(values[::2], values[1::2], strict=True)
    )


def upright(values: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Return an image turned as tag 274 of TIFF and EXIF says: a view."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def _metadata(path: Path, page: TiffPage, *, turned: bool) -> Metadata:
    exif = Image.Exif()
    dpi: object = None
    profile = page.tags.valueof(34675)
    try:
        unit = page.tags.valueof(296, 2)
        scale = {2: 1.0, 3: 2.54}.get(int(unit))
        if scale is not None:
            dpi = [scale * (_rationals(page, code) or (0.0,))[0] for code in (282, 283)]
        # By which it reads the header again.
        exif.endian, exif.bigtiff = page.parent.byteorder, page.parent.is_bigtiff
        with path.open("rb") as stream:
            exif.load_from_fp(stream, page.offset)
            return carried(exif, dpi, _as_bytes(profile), turned=turned)
    # Pillow raises errors of many types on damaged tags, which are no reason to refuse a photo.
    except Exception:
        return carried(Image.Exif(), dpi, _as_bytes(profile), turned=turned)


def _as_bytes(value: object) -> bytes | None:
    return bytes(value) if isinstance(value, (bytes, tuple)) else None
