"""What a photo's file says beside its pixels, for the file of the result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

_EXIF, _GPS = 0x8769, 0x8825
_SIZES = (0xA002, 0xA003, 0xA005)  # of the pixels, which are turned; and where another list lies
_ORIENTATION, _DESCRIPTION = 0x0112, 0x010E
_IDENTIFIER = 0xA420  # ImageUniqueID, 32 hexadecimal digits
_KEPT = (
    0x010D,  # name of the document
    _DESCRIPTION,
    0x010F,  # maker and model of the camera
    0x0110,
    0x0131,  # software
    0x0132,  # date
    0x013B,  # artist
    0x013C,
    0x4746,  # rating
    0x4749,
    0x8298,  # copyright
    0x9C9B,  # title, comment, author, keywords and subject, of Windows
    0x9C9C,
    0x9C9D,
    0x9C9E,
    0x9C9F,
)
_BOOKKEEPING = ('{"shape"', "ImageJ=", "<?xml", "<OME")  # what says how the pixels lie
_LARGEST_JPEG_EXIF = 65533 - 6
_LARGEST_DPI = 65535


@dataclass(frozen=True)
class Metadata:
    """What is carried from a photo into its colorization."""

    #: Who, when, where and with which camera, with the orientation of an upright picture; empty if
    #: the file has none
    exif: bytes = b""
    dpi: tuple[float, float] | None = None  #: (x, y), or None
    profile: bytes | None = None  #: ICC profile

    def options(self, suffix: str) -> dict[str, Any]:
        """Return what Pillow's writer of a format is told; formats leave out what they cannot hold."""
        options: dict[str, Any] = {}
        if self.exif and not (suffix in (".jpg", ".jpeg") and len(self.exif) > _LARGEST_JPEG_EXIF):
            options["exif"] = self.exif
        if self.dpi is not None:
            options["dpi"] = self.dpi
        if self.profile:
            options["icc_profile"] = self.profile
        return options


def with_identifier(metadata: Metadata, identifier: str) -> Metadata:
    """Return the same with an `ImageUniqueID`, 32 hexadecimal digits."""
    exif = Image.Exif()
    exif.load(metadata.exif)
    exif[_EXIF] = {**exif.get_ifd(_EXIF), _IDENTIFIER: identifier}
    return replace(metadata, exif=exif.tobytes())


def identifier_of(path: Path) -> str:
    """Return the `ImageUniqueID` of an image file; empty if it has none or is no image."""
    try:
        with Image.open(path) as image:
            return str(image.getexif().get_ifd(_EXIF).get(_IDENTIFIER, ""))
    except (OSError, ValueError, SyntaxError):
        return ""


def carried(
    exif: Image.Exif, dpi: object, profile: bytes | None, *, turned: bool = False
) -> Metadata:
    """Return what is carried; damaged EXIF and impossible resolutions are left out.

    `dpi` is as the file says it; `turned`: whether the picture was turned by a quarter to be upright.
    """
    resolution: tuple[float, float] | None
    try:
        horizontal, vertical = (float(value) for value in dpi)  # type: ignore[attr-defined]
        resolution = (vertical, horizontal) if turned else (horizontal, vertical)
        if not all(1 <= value <= _LARGEST_DPI for value in resolution):
            resolution = None
    except (TypeError, ValueError, ZeroDivisionError):
        resolution = None
    try:
        kept = _kept(exif)
    # Pillow raises errors of many types on damaged EXIF, which is no reason to refuse a photo.
    except Exception:
        kept = b""
    return Metadata(kept, resolution, profile)


def _kept(exif: Image.Exif) -> bytes:
    result = Image.Exif()
    for tag in _KEPT:
        value = exif.get(tag)
        if value is not None and not (tag == _DESCRIPTION and str(value).startswith(_BOOKKEEPING)):
            result[tag] = value
    for tag in (_EXIF, _GPS):
        entries = {key: value for key, value in exif.get_ifd(tag).items() if key not in _SIZES}
        if entries:
            result[tag] = entries
    if not len(result):
        return b""
    result[_ORIENTATION] = 1
    return result.tobytes()
