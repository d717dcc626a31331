"""Colorize photo and video files, one after another; a bad one does not stop the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autocolor.control.edits import Edits, colorize_edited, save_histograms, uncertainty_image
from autocolor.core.errors import AutocolorError, InputError
from autocolor.histograms.decode import DecodeOptions
from autocolor.imaging.color import lightness
from autocolor.imaging.images import (
    Photo,
    check_output_suffix,
    count_pages,
    find_photos,
    read_image,
    write_image,
)
from autocolor.runtime.colorizer import Colorizer
from autocolor.video.film import colorize_video
from autocolor.video.smoothing import SMOOTHING
from autocolor.video.source import is_video


def find_files(folder: Path) -> list[Path]:
    """Return the photos and videos of a folder, sorted by path."""
    videos = [
        path
        for path in folder.iterdir()
        if is_video(path) and not path.name.startswith(".") and path.is_file()
    ]
    return sorted({*find_photos(folder), *videos})


@dataclass(frozen=True)
class FileOptions:
    """What is written of a photo or a video.

    Attributes
    ----------
    decoding : DecodeOptions
    edits : Edits
        Changes to the prediction, and how many colorizations to write.
    seed : int
        Of the samples. Each file starts a generator of its own, so its result does not depend on
        the files beside it.
    compare : bool
        Write grey and colour side by side.
    uncertainty : bool
        Write the map of it as well, to OUTPUT_uncertainty.png.
    histograms : Path, optional
        Write what the network predicts there as well, see
        :func:`autocolor.control.edits.save_histograms`.
    smoothing : float
        Of a video, see :func:`autocolor.video.smoothing.smooth_predictions`; of the others, decoding alone is
        for videos.
    """

    decoding: DecodeOptions = DecodeOptions()
    edits: Edits = Edits()
    seed: int = 0
    compare: bool = False
    uncertainty: bool = False
    histograms: Path | None = None
    smoothing: float = SMOOTHING


def colorize_files(
    colorizer: Colorizer, jobs: Iterable[tuple[Path, Path]], options: FileOptions = FileOptions()
) -> Iterator[tuple[Path, list[Path], Exception | None]]:
    """Colorize photos of any sizes one at a time, so that memory does not grow with their number.

    Parameters
    ----------
    colorizer : Colorizer
    jobs : iterable of (photo, output)
    options : FileOptions

    Yields
    ------
    photo : Path
        As in `jobs`, when it is done.
    written : list of Path
        As of :func:`colorize_file`; empty where there is an error.
    error : AutocolorError, OSError or None
        Why there is no output, naming the file; None if there is one.
    """
    for photo, output in jobs:
        written: list[Path] = []
        error: Exception | None = None
        try:
            written = colorize_file(colorizer, photo, output, options)
        except InputError:
            raise
        except (AutocolorError, OSError) as reason:
            error = reason
        yield photo, written, error


def colorize_file(
    colorizer: Colorizer, photo: Path, output: Path, options: FileOptions = FileOptions()
) -> list[Path]:
    """Colorize one photo file, whose transparency is kept, or a video.

    Of several colorizations, number i goes to OUTPUT_i, and page i of a TIFF file that has several
    to OUTPUT_page_i.

    Parameters
    ----------
    colorizer : Colorizer
    photo, output : Path
        The output's suffix chooses its format; its folder is made if need be.
    options : FileOptions

    Returns
    -------
    list of Path
        What was written: colorizations first, then what the options ask for beside them.

    Raises
    ------
    AutocolorError, OSError
        If the photo cannot be read, the output cannot be written, or the options do not fit.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    if is_video(photo):
        colorize_video(colorizer, photo, output, options.decoding, smoothing=options.smoothing)
        return [output]
    pages = count_pages(photo)
    written: list[Path] = []
    for page in range(pages):
        ending = f"_page_{page + 1}" if pages > 1 else ""
        one = options
        if options.histograms is not None:
            one = replace(options, histograms=_ended(options.histograms, ending))
        written += _colorize_page(colorizer, read_image(photo, page), _ended(output, ending), one)
    return written


def _colorize_page(
    colorizer: Colorizer, photo: Photo, output: Path, options: FileOptions
) -> list[Path]:
    check_output_suffix(output, with_alpha=photo.alpha is not None)
    light = lightness(photo.rgb)
    prediction = colorizer.predict(light)
    beside = []
    if options.histograms is not None:
        save_histograms(options.histograms, prediction)
        beside.append(options.histograms)
    if options.uncertainty:
        beside.append(output.with_name(f"{output.stem}_uncertainty.png"))
        write_image(beside[-1], uncertainty_image(prediction))
    alpha = photo.alpha
    if options.compare and alpha is not None:
        alpha = np.concatenate([alpha, alpha], axis=1)
    rng = np.random.default_rng(options.seed)
    results = colorize_edited(prediction, options.edits, rng, options.decoding)
    written = []
    for number, rgb in enumerate(results, start=1):
        if options.compare:
            rgb = np.concatenate([np.repeat(light[..., None], 3, axis=-1), rgb], axis=1)
        several = options.edits.samples > 1
        written.append(_ended(output, f"_{number}") if several else output)
        write_image(written[-1], rgb, alpha, photo.metadata)
    return written + beside


def _ended(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.stem}{ending}{path.suffix}")
