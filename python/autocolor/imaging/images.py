"""Read, write and resize photos: with Pillow, TIFF with tifffile."""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from autocolor.core.arrays import FloatArray, check_same_shape, check_unit, row_bands
from autocolor.core.errors import AutocolorError, InputError
from autocolor.core.files import FileKindError, atomic_path, check_is_file
from autocolor.imaging import tiff
from autocolor.imaging.metadata import Metadata, carried
from autocolor.imaging.profiles import Space, from_srgb, to_srgb

OUTPUT_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_HEIF_SUFFIXES = (".heic", ".heif", ".hif")
# What a folder is searched for.
PHOTO_SUFFIXES = (
    *OUTPUT_SUFFIXES,
    *_HEIF_SUFFIXES,
    *[
        ".avif",
        ".dib",
        ".gif",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpf",
        ".jpx",
        ".pbm",
        ".pgm",
        ".pnm",
        ".ppm",
        ".tga",
    ],
)

# Formats of Pillow whose files may hold several pictures; what JPEG adds are previews and depth.
_SEVERAL = ("AVIF", "GIF", "HEIF", "PNG", "WEBP")
# In the first box of a file (ISO 23008-12); the last two are of AVIF, too.
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

# What the content of a file may be. Pillow would read more, some of it with programs of others: of
# EPS it lets Ghostscript run what the file says.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "WEBP")

_JPEG_SUFFIXES = (".jpeg", ".jpg")
_JPEG_OPTIONS: dict[str, Any] = {"quality": 95, "subsampling": "4:4:4"}
# Run lengths alone, after PNG's filters: a third of the time of zlib's default, files 2 % larger.
_PNG_OPTIONS: dict[str, Any] = {"compress_level": 1, "compress_type": zlib.Z_RLE}
_WITHOUT_ALPHA = (*_JPEG_SUFFIXES, ".bmp")
# Pillow scales greys of few bits to 8, but not which one of them is transparent.
_RAW_GREYS = {"L;2": 85, "L;4": 17}
_ORIENTATION = 0x0112
_MAXIMUM_16_BIT = 65535
_BAND = 2**22  # pixels


class ImageError(AutocolorError):
    """A file that is no readable photo, or cannot be written; one line that names it."""


@dataclass(frozen=True)
class Photo:
    """A photo in memory, upright, in sRGB."""

    rgb: npt.NDArray[np.float32]  #: (H, W, 3) float32 array in [0, 1]
    #: (H, W) float32 array in [0, 1], or None. Opacity, where the file has it.
    alpha: npt.NDArray[np.float32] | None
    #: Whether the file stores one grey channel, so that its three channels here are equal
    is_grey: bool
    metadata: Metadata = Metadata()  #: What to hand to :func:`write_image` with the result


def find_photos(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Return the files of `folder` that have a suffix of `PHOTO_SUFFIXES`, sorted by path."""
    entries: Iterator[Path] = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(
        path
        for path in entries
        if path.suffix.lower() in PHOTO_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    )


def count_pages(path: Path | str) -> int:
    """Return the number of pages of a TIFF file; 1 for every other file, readable or not."""
    path = Path(path)
    try:
        with _readable(path):
            return tiff.count_pages(path) if tiff.is_tiff(path) else 1
    except ImageError:  # as in read_image, which then says what is wrong
        return 1


def count_pictures(path: Path | str) -> int:
    """Return the number of pages of a TIFF, of frames of an animation; 1 for a file that is not readable."""
    path = Path(path)
    try:
        with _readable(path):
            if tiff.is_tiff(path):
                return tiff.count_pages(path)
            with Image.open(path, formats=_formats(path)) as image:
                return getattr(image, "n_frames", 1) if image.format in _SEVERAL else 1
    except ImageError:
        return 1


def image_size(path: Path | str) -> tuple[int, int]:
    """Return (height, width) as a file's header says them, before it is turned upright.

    Nothing is decoded, so a limit can be checked before memory is taken.

    Raises
    ------
    ImageError
        If the file is missing, no image, or above Pillow's limit of pixels.
    """
    path = Path(path)
    with _readable(path):
        if tiff.is_tiff(path):
            return tiff.image_size(path)
        with Image.open(path, formats=_formats(path)) as image:
            return image.height, image.width


def read_image(path: Path | str, page: int = 0, *, least_side: int | None = None) -> Photo:
    """Read a photo: TIFF, or a picture format of Pillow; grey, RGB, CMYK or palette of any depth.

    EXIF orientation is applied and an embedded ICC profile is converted to sRGB (an unusable one
    is ignored).

    Parameters
    ----------
    path : path
    page : int
        Which one of several, from 0.
    least_side : int, optional
        Allows a JPEG to be decoded at a half, a quarter or an eighth of its size, the smallest at
        which neither side is below this: quick, and little memory for a large one.

    Raises
    ------
    ImageError
        If the file is missing, no image, cut short, has no such page, or is larger than Pillow's
        limit of pixels.
    """
    path = Path(path)
    with _readable(path):
        if tiff.is_tiff(path):
            return _from_tiff(tiff.read_tiff(path, page))
        with Image.open(path, formats=_formats(path)) as image:
            image.seek(page)
            if least_side is not None:
                image.draft(None, (least_side, least_side))
            raw_mode = str(image.tile[0].args) if image.format == "PNG" else ""
            if raw_mode.endswith("16B"):
                return _from_deep_png(path, image)
            if isinstance(image.info.get("transparency"), int):
                image.info["transparency"] *= _RAW_GREYS.get(raw_mode, 1)
            image.load()
            return _to_photo(image)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise an `ImageError` that names the file for whatever Pillow raises in the block."""
    try:
        with warnings.catch_warnings():
            # Pillow warns about odd metadata and large images; the limit that counts raises.
            warnings.simplefilter("ignore")
            check_is_file(path)
            yield
    except (FileNotFoundError, FileKindError) as error:
        raise ImageError(str(error)) from None
    except UnidentifiedImageError:
        is_empty = path.stat().st_size == 0
        problem = f"not an image{': the file is empty' if is_empty else ' that can be read'}"
        if _is_heif(path) and _formats(path) == _FORMATS:
            problem += " without pillow-heif; `pip install pillow-heif` brings it"
        raise ImageError(f"{path}: {problem}") from None
    # Pillow's decoders raise errors of many types on damaged files.
    except Exception as error:
        raise ImageError(f"{path}: cannot be read: {error}") from error


def _formats(path: Path) -> tuple[str, ...]:
    """Return what a file may be: HEIF, too, if it begins as one and Pillow has a plugin for it."""
    if not _is_heif(path):
        return _FORMATS
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        return _FORMATS
    register_heif_opener()
    return (*_FORMATS, "HEIF")


def _is_heif(path: Path) -> bool:
    with path.open("rb") as stream:  # whatever its name is: the web page stores photos without one
        head = stream.read(12)
    return head[4:8] == b"ftyp" and head[8:] in _HEIF_BRANDS


def _from_tiff(image: tiff.TiffImage) -> Photo:
    rgb = to_srgb(image.values, image.space, image.metadata.profile)
    metadata = image.metadata
    if image.space != "rgb":  # its profile is none of the result's
        metadata = replace(metadata, profile=None)
    return Photo(rgb, image.alpha, image.space == "grey", metadata)


def _from_deep_png(path: Path, image: Image.Image) -> Photo:
    """Return a PNG of 16 bit, whose header Pillow has read and found no larger than the limit.

    Of colours Pillow drops the lower byte, and it mistakes which one is transparent.
    """
    import imagecodecs

    values = imagecodecs.png_decode(path.read_bytes()).astype(np.float32) / np.float32(65535)
    values = tiff.upright(np.atleast_3d(values), image.getexif().get(_ORIENTATION, 1))
    alpha = np.ascontiguousarray(values[..., -1]) if values.shape[-1] % 2 == 0 else None
    is_grey = values.shape[-1] <= 2
    colors = values[..., : 1 if is_grey else 3]
    metadata = _metadata(image, is_rgb=not is_grey)
    profile = image.info.get("icc_profile")
    rgb = np.ascontiguousarray(to_srgb(colors, "grey" if is_grey else "rgb", profile))
    return Photo(rgb, alpha, is_grey, metadata)


def _to_photo(image: Image.Image) -> Photo:
    profile = image.info.get("icc_profile")
    is_float = image.mode == "F" or image.mode.startswith("I")
    is_grey = is_float or image.mode in ("1", "L", "LA")
    metadata = _metadata(image, is_rgb=not is_grey and image.mode != "CMYK")
    image = ImageOps.exif_transpose(image)
    alpha = None
    if is_float:
        colors = _deep_grey(image)[..., None]
        return Photo(to_srgb(colors, "grey", profile), alpha, is_grey, metadata)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = _to_unit_range(image.getchannel("A"))
    if is_grey:
        image = image.convert("L")
    elif image.mode != "CMYK":
        image = image.convert("RGB")
    if profile:
        values = np.atleast_3d(_to_unit_range(image))
        space: Space = "grey" if is_grey else "cmyk" if image.mode == "CMYK" else "rgb"
        return Photo(to_srgb(values, space, profile), alpha, is_grey, metadata)
    return Photo(_to_unit_range(image.convert("RGB")), alpha, is_grey, metadata)


def _metadata(image: Image.Image, *, is_rgb: bool) -> Metadata:
    exif = image.getexif()
    turned = exif.get(_ORIENTATION, 1) in (5, 6, 7, 8)
    profile = image.info.get("icc_profile") if is_rgb else None
    return carried(exif, image.info.get("dpi"), profile, turned=turned)


def _to_unit_range(image: Image.Image) -> npt.NDArray[np.float32]:
    # In bands, without a second copy of the whole: a photo at the limit of pixels takes 2 GB.
    bands = () if len(image.getbands()) == 1 else (len(image.getbands()),)
    values = np.empty((image.height, image.width, *bands), np.float32)
    for rows in row_bands(image.height, image.width, _BAND):
        values[rows] = image.crop((0, rows.start, image.width, rows.stop))
    values /= 255
    return values


def _deep_grey(image: Image.Image) -> npt.NDArray[np.float32]:
    """Return a grey image of 16 bit or of floats in [0, 1] as an array."""
    values = np.asarray(image).astype(np.float32)
    maximum = 1 if image.mode == "F" else _MAXIMUM_16_BIT
    if not (values.min() >= 0 and values.max() <= maximum):
        raise ImageError(
            f"expected grey values in [0, {maximum}], got [{values.min():g}, {values.max():g}]"
        )
    return values / np.float32(maximum)


def write_image(
    path: Path | str,
    rgb: FloatArray,
    alpha: FloatArray | None = None,
    metadata: Metadata = Metadata(),
) -> None:
    """Write an 8-bit image, atomically; the suffix chooses the format.

    Values are rounded to the nearest of 256 levels. JPEG is written at quality 95 without chroma
    subsampling.

    Parameters
    ----------
    path : path
        With one of `OUTPUT_SUFFIXES`; its folder must exist.
    rgb : (H, W, 3) float array in [0, 1]
    alpha : (H, W) float array in [0, 1], optional
    metadata : Metadata, optional
        Of the photo that the colours belong to, as far as the format has room for it. Its profile is
        kept, and the colours are stored by it, if 8 bits of it hold those of sRGB.

    Raises
    ------
    ImageError
        If the suffix is unknown, the format stores no alpha, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    check_output_suffix(path, with_alpha=alpha is not None)
    check_unit("rgb", rgb, last_axis=3)
    if metadata.profile:
        stored = None if suffix == ".bmp" else from_srgb(rgb, metadata.profile)
        if stored is None:
            metadata = replace(metadata, profile=None)
        else:
            rgb = stored
    channels = rgb
    if alpha is not None:
        check_unit("alpha", alpha)
        check_same_shape("alpha", alpha, rgb.shape[:2])
        channels = np.concatenate([rgb, alpha[..., None]], axis=-1)
    image = Image.fromarray(to_uint8(channels))
    options = metadata.options(suffix)
    if suffix in _JPEG_SUFFIXES:
        options |= _JPEG_OPTIONS
    elif suffix == ".png":
        options |= _PNG_OPTIONS
    try:
        with atomic_path(path) as partial:
            image.save(partial, **options)
    except OSError as error:
        raise ImageError(f"{path}: cannot be written: {error.strerror or error}") from error


def to_uint8(image: FloatArray) -> npt.NDArray[np.uint8]:
    """Round an image of any shape from [0, 1] to the nearest of 256 levels.

    The lightness of a pixel stays within half a level, 0.5/255.
    """
    check_unit("image", image)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def check_output_suffix(path: Path, *, with_alpha: bool = False) -> None:
    """Refuse with an `ImageError` a file name that :func:`write_image` has no format for."""
    suffix = path.suffix.lower()
    if suffix not in OUTPUT_SUFFIXES:
        raise ImageError(
            f"{path}: expected a file name ending in {', '.join(OUTPUT_SUFFIXES)}, "
            f"got {path.name!r}"
        )
    if with_alpha and suffix in _WITHOUT_ALPHA:
        raise ImageError(
            f"{path}: {suffix} stores no transparency, which the photo has; choose .png"
        )


def resize(image: FloatArray, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Resize an image with Lanczos filtering, without aliasing.

    Image borders fall on image borders: pixel y of the result covers the part
    [y, y + 1] * H / height of the original.

    Parameters
    ----------
    image : (H, W) or (H, W, C) float array in [0, 1]
    size : (height, width)

    Returns
    -------
    (height, width) or (height, width, C) float32 array in [0, 1].
    """
    check_unit("image", image)
    height, width = size
    if image.ndim not in (2, 3):
        raise InputError("image", f"expected shape (H, W) or (H, W, C), got {image.shape}")
    if height < 1 or width < 1:
        raise InputError("size", f"expected at least (1, 1), got ({height}, {width})")
    planes = np.atleast_3d(image).astype(np.float32, copy=False)
    resized = [
        Image.fromarray(np.ascontiguousarray(planes[..., channel])).resize(
            (width, height), Image.Resampling.LANCZOS
        )
        for channel in range(planes.shape[-1])
    ]
    result = np.stack([np.asarray(plane, dtype=np.float32) for plane in resized], axis=-1)
    np.clip(result, 0, 1, out=result)
    return result.reshape(height, width, *image.shape[2:])


def fit_side(
    image: FloatArray, side: int, side_of: Literal["larger", "smaller"]
) -> npt.NDArray[np.float32]:
    """Reduce (H, W) or (H, W, C) until its larger or smaller side has `side` pixels; never enlarge it."""
    if side < 1:
        raise InputError("side", f"expected at least 1, got {side}")
    height, width = image.shape[:2]
    factor = side / (max if side_of == "larger" else min)(height, width)
    if factor >= 1:
        return image.astype(np.float32, copy=False)
    return resize(image, (max(1, round(height * factor)), max(1, round(width * factor))))


def fit_pixels(image: FloatArray, pixels: int) -> npt.NDArray[np.float32]:
    """Reduce an image in proportion to at most `pixels`, about; never enlarge it."""
    size = fitted_size(image.shape, pixels)
    if size == image.shape[:2]:
        return image.astype(np.float32, copy=False)
    return resize(image, size)


def fitted_size(shape: tuple[int, ...], pixels: int) -> tuple[int, int]:
    """Return the (height, width) of an image's shape, reduced to at most `pixels`, about."""
    height, width = shape[:2]
    factor = min(1.0, math.sqrt(pixels / (height * width)))
    return max(1, round(height * factor)), max(1, round(width * factor))
