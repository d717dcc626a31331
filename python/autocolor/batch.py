"""Colorize photo and video files, one after another; a bad one does not stop the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from autocolor.control.edits import Edits, colorize_edited, save_histograms, uncertainty_image
from autocolor.core.errors import AutocolorError, InputError
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
from autocolor.video import SMOOTHING, VIDEO_SUFFIXES, colorize_video

_NO_EDITS = Edits()


def is_video(path: Path) -> bool:
    """Return whether a file is one by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_files(folder: Path) -> list[Path]:
    """Return the photos and videos of a folder, sorted by path."""
    videos = [path for path in folder.iterdir() if is_video(path) and not path.name.startswith(".")]
    return sorted([*find_photos(folder), *videos])


def colorize_files(
    colorizer: Colorizer, jobs: Iterable[tuple[Path, Path]], **options: Any
) -> Iterator[tuple[Path, Path, Exception | None]]:
    """Colorize photos of any sizes one at a time, so that memory does not grow with their number.

    Parameters
    ----------
    colorizer : Colorizer
    jobs : iterable of (photo, output)
    **options
        Of :func:`colorize_file`.

    Yields
    ------
    photo, output : Path
        As in `jobs`, when it is done.
    error : ImageError, ModelError, OSError or None
        Why there is no output, naming the file; None if there is one.

    Raises
    ------
    ValueError
        On options that :meth:`autocolor.runtime.colorizer.Colorizer.colorize` refuses.
    """
    for photo, output in jobs:
        error: Exception | None = None
        try:
            colorize_file(colorizer, photo, output, **options)
        except InputError:
            raise
        except (AutocolorError, OSError) as reason:
            error = reason
        yield photo, output, error


def colorize_file(
    colorizer: Colorizer,
    photo: Path,
    output: Path,
    *,
    compare: bool = False,
    seed: int = 0,
    edits: Edits = _NO_EDITS,
    uncertainty: bool = False,
    histograms: Path | None = None,
    smoothing: float = SMOOTHING,
    **options: Any,
) -> None:
    """Colorize one photo file, whose transparency is kept, or a video.

    Of several colorizations, number i goes to OUTPUT_i, and page i of a TIFF file that has several
    to OUTPUT_page_i.

    Parameters
    ----------
    colorizer : Colorizer
    photo, output : Path
        The output's suffix chooses its format; its folder is made if need be.
    compare : bool
        Write grey and colour side by side.
    seed : int
        Of the samples. Each file starts a generator of its own, so its result does not depend on
        the files beside it.
    edits : Edits
        Changes to the prediction, and how many colorizations to write.
    uncertainty : bool
        Write the map of it as well, to OUTPUT_uncertainty.png.
    histograms : Path, optional
        Write what the network predicts there as well, see :func:`autocolor.control.edits.save_histograms`.
    smoothing : float
        Of a video, see :class:`autocolor.video.HistogramSmoother`. Neither the seed nor what
        follows it is for videos.
    **options
        Other than `rng` of :meth:`autocolor.runtime.colorizer.Colorizer.colorize`.

    Raises
    ------
    ImageError, OSError
        If the photo cannot be read or the output cannot be written.
    ValueError, ModelError
        As :meth:`autocolor.runtime.colorizer.Colorizer.colorize`.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    if is_video(photo):
        colorize_video(colorizer, photo, output, smoothing=smoothing, **options)
        return
    pages = count_pages(photo)
    for page in range(pages):
        ending = f"_page_{page + 1}" if pages > 1 else ""
        target = output.with_name(f"{output.stem}{ending}{output.suffix}")
        saved = histograms
        if histograms is not None:
            saved = histograms.with_name(f"{histograms.stem}{ending}{histograms.suffix}")
        _colorize_page(
            colorizer, read_image(photo, page), target, compare, np.random.default_rng(seed), edits,
            uncertainty, saved, options,
        )  # fmt: skip


def _colorize_page(
    colorizer: Colorizer,
    read: Photo,
    output: Path,
    compare: bool,
    rng: np.random.Generator,
    edits: Edits,
    uncertainty: bool,
    histograms: Path | None,
    options: dict[str, Any],
) -> None:
    check_output_suffix(output, with_alpha=read.alpha is not None)
    light = lightness(read.rgb)
    prediction = colorizer.predict(light)
    if histograms is not None:
        save_histograms(histograms, prediction)
    if uncertainty:
        path = output.with_name(f"{output.stem}_uncertainty.png")
        write_image(path, uncertainty_image(prediction))
    alpha = read.alpha
    if compare and alpha is not None:
        alpha = np.concatenate([alpha, alpha], axis=1)
    results = colorize_edited(prediction, edits, rng, **options)
    for number, rgb in enumerate(results, start=1):
        path = output
        if edits.samples > 1:
            path = output.with_name(f"{output.stem}_{number}{output.suffix}")
        if compare:
            rgb = np.concatenate([np.repeat(light[..., None], 3, axis=-1), rgb], axis=1)
        write_image(path, rgb, alpha)
