"""Colorize photo files, one after another; a bad one does not stop the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from autocolor.color import lightness
from autocolor.images import ImageError, check_output_suffix, read_image, write_image
from autocolor.model_folder import ModelError
from autocolor.predictor import Predictor


def colorize_files(
    predictor: Predictor, jobs: Iterable[tuple[Path, Path]], **options: Any
) -> Iterator[tuple[Path, Path, Exception | None]]:
    """Colorize photos of any sizes one at a time, so that memory does not grow with their number.

    Parameters
    ----------
    predictor : Predictor
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
        On options that :meth:`autocolor.predictor.Predictor.colorize` refuses.
    """
    for photo, output in jobs:
        error: Exception | None = None
        try:
            colorize_file(predictor, photo, output, **options)
        except (ImageError, ModelError, OSError) as reason:
            error = reason
        yield photo, output, error


def colorize_file(
    predictor: Predictor,
    photo: Path,
    output: Path,
    *,
    compare: bool = False,
    seed: int = 0,
    **options: Any,
) -> None:
    """Colorize one photo file; transparency is kept.

    Parameters
    ----------
    predictor : Predictor
    photo, output : Path
        The output's suffix chooses its format; its folder is made if need be.
    compare : bool
        Write grey and colour side by side.
    seed : int
        Of the samples. Each file starts a generator of its own, so its result does not depend on
        the files beside it.
    **options
        Other than `rng` of :meth:`autocolor.predictor.Predictor.colorize`.

    Raises
    ------
    ImageError, OSError
        If the photo cannot be read or the output cannot be written.
    ValueError, ModelError
        As :meth:`autocolor.predictor.Predictor.colorize`.
    """
    read = read_image(photo)
    check_output_suffix(output, with_alpha=read.alpha is not None)
    light = lightness(read.rgb)
    rgb = predictor.colorize(light, rng=np.random.default_rng(seed), **options)
    alpha = read.alpha
    if compare:
        rgb = np.concatenate([np.repeat(light[..., None], 3, axis=-1), rgb], axis=1)
        alpha = None if alpha is None else np.concatenate([alpha, alpha], axis=1)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_image(output, rgb, alpha)
