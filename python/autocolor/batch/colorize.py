"""Colorize photo and video files, one after another; a bad one does not stop the rest."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from autocolor.control.edits import Edits, colorize_edited, save_histograms, uncertainty_image
from autocolor.core.errors import AutocolorError, InputError
from autocolor.core.files import check_is_file, file_name, file_sha256, one_line
from autocolor.histograms.decode import DecodeOptions
from autocolor.imaging.images import (
    ImageError,
    Photo,
    check_output_suffix,
    count_pages,
    count_pictures,
    read_image,
    write_image,
)
from autocolor.imaging.metadata import identifier_of, with_identifier
from autocolor.imaging.prints import grey_of
from autocolor.imaging.restoration import restore
from autocolor.runtime.colorizer import Colorizer
from autocolor.video.formats import is_video
from autocolor.video.smoothing import SMOOTHING


@dataclass(frozen=True)
class FileOptions:
    """What is written of a photo or a video."""

    decoding: DecodeOptions = DecodeOptions()
    edits: Edits = Edits()  #: Changes to the prediction, and how many colorizations to write
    #: Of the samples. Each file starts a generator of its own, so its result does not depend on the
    #: files beside it.
    seed: int = 0
    compare: bool = False  #: Write grey and colour side by side
    uncertainty: bool = False  #: Write the map of it as well, to OUTPUT_uncertainty.png
    #: Write what the network predicts there as well, see
    #: :func:`autocolor.control.edits.save_histograms`
    histograms: Path | None = None
    #: {"auto", "mean", "print"}. How a photo is turned to grey, see
    #: :data:`autocolor.imaging.prints.MIXES`.
    grey: str = "mean"
    #: Fill dust and scratches and spread the tones of a photo, see
    #: :func:`autocolor.imaging.restoration.restore`
    restore: bool = False
    #: Of a video, see :func:`autocolor.video.smoothing.smooth_predictions`; of the others, decoding
    #: alone is for videos
    smoothing: float = SMOOTHING

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError("seed", f"expected at least 0, got {self.seed}")


@dataclass(frozen=True)
class FileResult:
    """What became of a photo or a video."""

    photo: Path
    #: Its colorizations, in order: of each page, each sample
    colorized: list[Path] = field(default_factory=list)
    beside: list[Path] = field(default_factory=list)  #: What the options ask for beside them
    error: str = ""  #: Why there is none, in one line that names the file; empty if there is one
    wrong_option: InputError | None = None  #: Where an option does not fit the file
    was_there: bool = False  #: Whether an earlier run wrote it
    note: str = ""  #: What else there is to say of it, in one line that names the file


def colorize_files(
    colorizer: Colorizer,
    jobs: Sequence[tuple[Path, Path]],
    options: FileOptions = FileOptions(),
    *,
    resume: bool = False,
    replace: bool = False,
) -> Iterator[FileResult]:
    """Colorize photos of any sizes one at a time, so that memory does not grow with their number.

    Whatever goes wrong with one, the rest goes on.

    Parameters
    ----------
    colorizer : Colorizer
    jobs : sequence of (photo, output)
    options : FileOptions
    resume : bool
        Leave alone what has all its results, made of the photo as it is. Results appear whole or not
        at all, so an earlier run may have ended in any way.
    replace : bool
        Write over what was made of another photo, which is an error otherwise.

    Yields
    ------
    FileResult
        As in `jobs`, when it is done.
    """
    owners = {output: photo for photo, output in jobs}
    for photo, output in jobs:
        try:
            result = _earlier_result(photo, output, options) if resume else None
            if result is None:
                result = colorize_file(colorizer, photo, output, options, owners, replace=replace)
        except Exception as error:  # decoders and encoders raise errors of many types
            text = one_line(error)
            if not isinstance(error, (AutocolorError, OSError, ValueError)):
                text = f"{type(error).__name__}: {text}"
            if str(photo) not in str(error) and str(output) not in str(error):
                text = f"{photo}: {text}"
            wrong = error if isinstance(error, InputError) else None
            result = FileResult(photo, error=text, wrong_option=wrong)
        yield result


def _earlier_result(photo: Path, output: Path, options: FileOptions) -> FileResult | None:
    check_is_file(photo)
    pages = 1 if is_video(photo) else count_pages(photo)
    names = [_page_names(output, page, pages, options) for page in range(pages)]
    colorized = [path for page in names for path in page.colorized]
    beside = [path for page in names for path in page.beside]
    if not all(path.is_file() for path in (*colorized, *beside)):
        return None
    if is_video(photo):
        is_current = output.stat().st_mtime_ns >= photo.stat().st_mtime_ns
    else:
        content = _identifier(photo)[16:]
        is_current = all(identifier_of(path)[16:] == content for path in colorized)
    return FileResult(photo, colorized, beside, was_there=True) if is_current else None


def _identifier(photo: Path) -> str:
    """Return 16 hexadecimal digits of a photo's place and 16 of its content: moved or changed, not both."""
    place = hashlib.sha256(os.fsencode(photo.resolve())).hexdigest()
    return place[:16] + file_sha256(photo)[:16]


def _is_of_another(result: Path, identifier: str) -> bool:
    """Return whether a file is known to be the colorization of a photo elsewhere with other content."""
    found = identifier_of(result) if result.exists() else ""
    return bool(found) and found[:16] != identifier[:16] and found[16:] != identifier[16:]


class _Names(NamedTuple):
    """Where a page goes: its colorizations, its map of uncertainty and its histograms."""

    colorized: list[Path]
    uncertainty: Path | None
    histograms: Path | None

    @property
    def beside(self) -> list[Path]:
        return [path for path in (self.histograms, self.uncertainty) if path is not None]


def _page_names(output: Path, page: int, pages: int, options: FileOptions) -> _Names:
    ending = f"_page_{page + 1}" if pages > 1 else ""
    samples = options.edits.samples
    numbers = [f"_{number}" for number in range(1, samples + 1)] if samples > 1 else [""]
    histograms = options.histograms
    return _Names(
        [_ended(output, ending + number) for number in numbers],
        _ended(output.with_suffix(".png"), f"{ending}_uncertainty")
        if options.uncertainty
        else None,
        None if histograms is None else _ended(histograms, ending),
    )


def _ended(path: Path, ending: str) -> Path:
    return path.with_name(file_name(path.stem, ending + path.suffix))


def colorize_file(
    colorizer: Colorizer,
    photo: Path,
    output: Path,
    options: FileOptions = FileOptions(),
    owners: dict[Path, Path] | None = None,
    *,
    replace: bool = False,
) -> FileResult:
    """Colorize one photo file, whose transparency is kept, or a video.

    Of several colorizations, number i goes to OUTPUT_i, and page i of a TIFF file that has several
    to OUTPUT_page_i. By EXIF's `ImageUniqueID` a colorization tells later runs of which photo it is.

    Parameters
    ----------
    colorizer : Colorizer
    photo, output : Path
        The output's suffix chooses its format; its folder is made if need be.
    options : FileOptions
    owners : dict of Path to Path, optional
        Results to the photos that they belong to; those of this photo are added.
    replace : bool
        Write over what an earlier run made of another photo.

    Raises
    ------
    AutocolorError, OSError
        If the photo cannot be read, the output cannot be written, the options do not fit, or a
        result would replace that of another photo, as page 1 of scan.tif that of scan_page_1.jpg.
    """
    check_is_file(photo)
    output.parent.mkdir(parents=True, exist_ok=True)
    if is_video(photo):
        from autocolor.video.film import colorize_video  # loads FFmpeg, which photos need not

        _check_video_options(photo, options)
        colorize_video(colorizer, photo, output, options.decoding, smoothing=options.smoothing)
        return FileResult(photo, [output])
    owners = {} if owners is None else owners
    pages = count_pages(photo)
    result = FileResult(photo)
    identifier = _identifier(photo)
    for page in range(pages):
        names = _page_names(output, page, pages, options)
        for path in (*names.colorized, *names.beside):
            if (owner := owners.setdefault(path, photo)) != photo:
                raise ImageError(f"{photo}: its result {path} would replace that of {owner}")
            if not replace and _is_of_another(path, identifier):
                raise ImageError(
                    f"{photo}: its result {path} would replace that of another photo; choose another folder"
                )
        source = read_image(photo, page)
        source = dataclasses.replace(source, metadata=with_identifier(source.metadata, identifier))
        _colorize_page(colorizer, source, names, options)
        result.colorized.extend(names.colorized)
        result.beside.extend(names.beside)
    if (pictures := count_pictures(photo)) > pages:
        note = f"{photo}: has {pictures} pictures, of which the first was colorized"
        return dataclasses.replace(result, note=note)
    return result


def _check_video_options(video: Path, options: FileOptions) -> None:
    """Refuse what is for photos alone."""
    edits, decoding = options.edits, options.decoding
    for name, is_given in (
        ("compare", options.compare),
        ("reference", edits.reference is not None),
        ("hint", bool(edits.hints)),
        ("uncertainty", options.uncertainty),
        ("histograms", options.histograms is not None),
        ("restore", options.restore),
        ("samples", edits.samples > 1),
        ("method", decoding.method == "sample"),
        ("hue", decoding.hue == "sample"),
    ):
        if is_given:
            raise InputError(name, f"expected photos, got {video}")


def _colorize_page(colorizer: Colorizer, photo: Photo, names: _Names, options: FileOptions) -> None:
    check_output_suffix(names.colorized[0], with_alpha=photo.alpha is not None)
    light = grey_of(photo.rgb, options.grey)
    if options.restore:
        light = restore(light)
    prediction = colorizer.predict(light)
    if names.histograms is not None:
        save_histograms(names.histograms, prediction)
    if names.uncertainty is not None:
        write_image(names.uncertainty, uncertainty_image(prediction))
    alpha = photo.alpha
    if options.compare and alpha is not None:
        alpha = np.concatenate([alpha, alpha], axis=1)
    rng = np.random.default_rng(options.seed)
    results = colorize_edited(prediction, options.edits, rng, options.decoding)
    for path, rgb in zip(names.colorized, results, strict=True):
        if options.compare:
            rgb = np.concatenate([np.repeat(light[..., None], 3, axis=-1), rgb], axis=1)
        write_image(path, rgb, alpha, photo.metadata)
