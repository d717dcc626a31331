"""Colorize a film: two passes, in segments that are kept, so that a run that was stopped goes on."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from autocolor.core.files import atomic_path, file_name, file_sha256, write_atomically
from autocolor.core.programs import printable
from autocolor.core.progress import tqdm
from autocolor.histograms.decode import DecodeOptions
from autocolor.histograms.prediction import Prediction
from autocolor.imaging.images import to_uint8
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.model_folder import model_identity
from autocolor.video.result import encode_segment, join
from autocolor.video.smoothing import RADIUS, SMOOTHING, check_smoothing, smooth_predictions
from autocolor.video.source import Survey, VideoError, read_lightness, reading, reason, survey_video

SEGMENT = 100
"""Frames that are kept at a time; a run that is stopped loses fewer."""

_FORMAT = 1
_PLAN = "plan.json"


def _say(line: str) -> None:
    tqdm.write(printable(line), file=sys.stderr)


def colorize_video(
    colorizer: Colorizer,
    video: Path,
    output: Path,
    options: DecodeOptions = DecodeOptions(),
    *,
    smoothing: float = SMOOTHING,
    progress: bool = True,
    say: Callable[[str], None] = _say,
) -> int:
    """Colorize a film; its sound, subtitles and the times of its frames are kept.

    A first pass reads the film and finds its cuts; a second one colorizes it, a segment of
    :data:`SEGMENT` frames at a time. They are kept in a hidden folder beside the output until the
    film is whole: the same call goes on with them, to the same result.

    Parameters
    ----------
    colorizer : Colorizer
    video, output : Path
        The output appears when it is whole, as H.264 (VP9 for .webm), upright and with square
        pixels; its folder must exist.
    options : DecodeOptions
    smoothing : float
        See :func:`autocolor.video.smoothing.smooth_predictions`.
    progress : bool
        Show progress bars on stderr.
    say : callable
        Is called with a line about each thing that is done and might not be expected, such as sound
        that is encoded anew.

    Returns
    -------
    int
        Number of frames.

    Raises
    ------
    VideoError
        If the file is no film that can be read, the output cannot be written, or another process
        writes it.
    """
    check_smoothing(smoothing)
    kept = 0
    try:
        with _work_folder(output) as work:
            identity = _identity(colorizer, video, options, smoothing)
            survey = _planned(work, identity)
            if survey is None:
                survey = survey_video(video, progress=progress)
                for note in survey.notes:
                    say(f"{video}: {note}")
                _rehearse(video, survey, output, lambda line: say(f"{video}: {line}"))
                _write_plan(work, identity, survey)
            files = _segment_files(work, len(survey.times))
            done = next((n for n, file in enumerate(files) if not file.exists()), len(files))
            kept = min(done * SEGMENT, len(survey.times))
            if kept:
                say(f"{output}: goes on after {kept} of {len(survey.times)} frames")
            frames = _colored(colorizer, video, survey, options, smoothing, kept)
            with tqdm(
                total=len(survey.times),
                initial=kept,
                unit="frame",
                desc=output.name,
                disable=not progress,
            ) as bar:
                for file in files[done:]:
                    segment = islice(_counted(frames, bar), SEGMENT)
                    content = encode_segment(segment, survey, output)
                    with atomic_path(file) as partial:
                        partial.write_bytes(content)
                    kept = min(kept + SEGMENT, len(survey.times))
            whole = work / f"whole{output.suffix}"
            contents = (file.read_bytes() for file in files)
            join(video, contents, survey, output, str(whole), lambda line: None)
            os.replace(whole, output)
            shutil.rmtree(work)
    except (FFmpegError, OSError) as error:
        again = f"; {kept} frames are kept, and the same command goes on" if kept else ""
        raise VideoError(f"{output}: cannot be written: {reason(error)}{again}") from error
    return len(survey.times)


@contextmanager
def _work_folder(output: Path) -> Iterator[Path]:
    """Yield the folder of what is kept for an output; it is removed where nothing is worth it."""
    work = output.with_name(file_name(f".{output.name}", ".work"))
    work.mkdir(exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VideoError(f"{output}: is being written by another process") from None
        try:
            yield work
        finally:
            if not any(work.glob("*.nut")):
                shutil.rmtree(work, ignore_errors=True)


def _identity(
    colorizer: Colorizer, video: Path, options: DecodeOptions, smoothing: float
) -> dict[str, Any]:
    """Return what the frames depend on, as JSON gives it back."""
    with reading(video):
        digest = file_sha256(video)
    return {
        "format": _FORMAT,
        "sha256": digest,
        "model": model_identity(colorizer.folder),
        "sees": list(colorizer.working_size(10_000, 10_000)),
        "options": asdict(options),
        "smoothing": smoothing,
        "segment": SEGMENT,
    }


def _planned(work: Path, identity: dict[str, Any]) -> Survey | None:
    """Return the survey of a run that was stopped; what another film or other options left, goes."""
    try:
        plan = json.loads((work / _PLAN).read_text(encoding="utf-8"))
        if plan["identity"] == identity:
            return Survey.from_dict(plan["survey"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    for file in work.glob("*.nut"):
        file.unlink()
    return None


def _write_plan(work: Path, identity: dict[str, Any], survey: Survey) -> None:
    plan = {"identity": identity, "survey": survey.to_dict()}
    write_atomically(work / _PLAN, json.dumps(plan))


def _segment_files(work: Path, frames: int) -> list[Path]:
    return [work / f"{first:09d}.nut" for first in range(0, frames, SEGMENT)]


def _rehearse(video: Path, survey: Survey, output: Path, say: Callable[[str], None]) -> None:
    """Write a film of one grey frame nowhere: what does not work is known before the long pass."""
    grey = np.full((survey.height, survey.width, 3), 128, np.uint8)
    join(video, [encode_segment([grey], survey, output)], survey, output, os.devnull, say)


def _colored(
    colorizer: Colorizer,
    video: Path,
    survey: Survey,
    options: DecodeOptions,
    smoothing: float,
    start: int,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the frames from `start` on, in colour."""
    first = max(0, start - RADIUS)

    def predictions() -> Iterator[Prediction]:
        for light in islice(read_lightness(video, survey), first, None):
            yield colorizer.predict(light)

    for prediction in smooth_predictions(
        predictions(), survey.cuts, smoothing, first=first, start=start
    ):
        yield to_uint8(prediction.decode(options))


def _counted(frames: Iterator[Any], bar: Any) -> Iterator[Any]:
    for frame in frames:
        yield frame
        bar.update()
