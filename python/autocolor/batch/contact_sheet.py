"""An overview of a batch: small pictures of each photo before and after, on as many sheets as it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageDraw, ImageFont

from autocolor.batch.colorize import FileOptions, FileResult
from autocolor.core.arrays import Float32Array
from autocolor.core.files import check_is_file, file_name
from autocolor.core.programs import printable
from autocolor.imaging.images import fit_side, read_image, to_uint8, write_image
from autocolor.imaging.metadata import Metadata
from autocolor.imaging.prints import grey_of
from autocolor.video.formats import is_video

_SIDE = 200  # of a picture, in pixels
_MARGIN, _CAPTION = 12, 18
_COLUMNS, _ROWS = 4, 12
_PAIR = (_SIDE + _CAPTION + _MARGIN, 2 * _SIDE + 2 * _MARGIN)  # (height, width)
_INK = (60, 60, 60)
_DESCRIPTION = "contact sheet of autocolor"


def is_contact_sheet(path: Path) -> bool:
    """Return whether a file is a sheet that was written here; one in .bmp cannot say so."""
    try:
        check_is_file(path)
        with Image.open(path) as image:
            return image.getexif().get(ExifTags.Base.ImageDescription) == _DESCRIPTION
    except (OSError, ValueError, SyntaxError):
        return False


class ContactSheet:
    """Pairs of pictures, before and after; each sheet is written when it is full.

    The first is in grey, and of a photo that is restored as it is.

    Parameters
    ----------
    path : Path
        Of the first sheet, whose suffix chooses the format; sheet i goes to PATH_i.
    options : FileOptions
        Of the photos. Videos are left out.

    Attributes
    ----------
    written : list of Path
    """

    def __init__(self, path: Path, options: FileOptions = FileOptions()) -> None:
        self._path, self._options = path, options
        self._pairs: list[Image.Image] = []
        self.written: list[Path] = []

    def add(self, result: FileResult) -> None:
        """Add a photo that was colorized: of each of its pages, the first sample."""
        if is_video(result.photo):
            return
        paths = result.colorized[:: self._options.edits.samples]
        for page, path in enumerate(paths):
            before = read_image(result.photo, page, least_side=_SIDE).rgb
            if not self._options.restore:
                grey = grey_of(before, self._options.grey)
                before = np.repeat(grey[..., None], 3, axis=-1)
            after = read_image(path).rgb
            if self._options.compare:
                after = after[:, after.shape[1] // 2 :]
            self._pairs.append(_pair(before, after, path.name))
            if len(self._pairs) == _COLUMNS * _ROWS:
                self.close()

    def close(self) -> None:
        """Write the pairs that are on no sheet yet."""
        if not self._pairs:
            return
        columns = min(_COLUMNS, len(self._pairs))
        rows = -(-len(self._pairs) // columns)
        height, width = _PAIR
        sheet = Image.new("RGB", (columns * width + _MARGIN, rows * height + _MARGIN), "white")
        for index, pair in enumerate(self._pairs):
            row, column = divmod(index, columns)
            sheet.paste(pair, (_MARGIN + column * width, _MARGIN + row * height))
        self._pairs.clear()
        number = len(self.written) + 1
        path = self._path
        if number > 1:
            path = path.with_name(file_name(path.stem, f"_{number}{path.suffix}"))
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[ExifTags.Base.ImageDescription] = _DESCRIPTION
        write_image(path, np.asarray(sheet, np.float32) / 255, metadata=Metadata(exif.tobytes()))
        self.written.append(path)


def _pair(before: Float32Array, after: Float32Array, name: str) -> Image.Image:
    height, width = _PAIR
    pair = Image.new("RGB", (width, height), "white")
    for column, rgb in enumerate((before, after)):
        small = Image.fromarray(to_uint8(fit_side(rgb, _SIDE, "larger")))
        left = column * (_SIDE + 2) + (_SIDE - small.width) // 2
        pair.paste(small, (left, (_SIDE - small.height) // 2))
    font = ImageFont.load_default(12)
    text = printable(name)
    while font.getlength(text) > width - _MARGIN and len(text) > 2:
        text = "…" + text[2:]
    ImageDraw.Draw(pair).text((0, _SIDE + 2), text, _INK, font)
    return pair
