"""Colorize videos with PyAV, without flicker: predictions are smoothed over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from tqdm import tqdm

from autocolor.core.arrays import FloatArray
from autocolor.core.errors import InputError
from autocolor.core.files import atomic_path
from autocolor.histograms.decode import DecodeOptions
from autocolor.histograms.prediction import Prediction
from autocolor.imaging.color import lightness
from autocolor.imaging.images import ImageError, resize, to_uint8
from autocolor.runtime.colorizer import Colorizer

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")

SMOOTHING = 0.8
"""Part that the frames before have in a frame's histograms."""

# Mean absolute difference of lightness from frame to frame, on a thumbnail, above which a frame
# starts a new shot, which has nothing to do with the frames before.
_CUT = 0.12
_THUMBNAIL = (36, 64)


class HistogramSmoother:
    """Exponential moving average of predictions over the frames of a shot.

    A frame's outputs become `amount` times those before plus (1 - amount) times its own; a mean of
    histograms is a histogram. At a cut the average starts anew.

    Parameters
    ----------
    amount : float
        In [0, 1); 0 leaves every frame as it is.
    """

    def __init__(self, amount: float = SMOOTHING) -> None:
        if not 0 <= amount < 1:
            raise InputError("smoothing", f"expected a number in [0, 1), got {amount}")
        self._amount = amount
        self._outputs: tuple[FloatArray, ...] = ()
        self._thumbnail: npt.NDArray[np.float32] | None = None

    def smooth(self, prediction: Prediction) -> Prediction:
        """Return the prediction of the next frame, smoothed."""
        thumbnail = resize(prediction.lightness, _THUMBNAIL)
        outputs = prediction.outputs
        if self._thumbnail is not None and np.abs(thumbnail - self._thumbnail).mean() < _CUT:
            outputs = tuple(
                (self._amount * old + (1 - self._amount) * new).astype(new.dtype, copy=False)
                for old, new in zip(self._outputs, outputs, strict=True)
            )
        self._outputs, self._thumbnail = outputs, thumbnail
        return replace(prediction, outputs=outputs)


def colorize_video(
    colorizer: Colorizer,
    video: Path,
    output: Path,
    options: DecodeOptions = DecodeOptions(),
    *,
    smoothing: float = SMOOTHING,
    progress: bool = True,
) -> int:
    """Colorize a video file; its sound, frame rate and time stamps are kept.

    Parameters
    ----------
    colorizer : Colorizer
    video, output : Path
        The output is written atomically, as H.264 (VP9 for .webm); its folder must exist.
    options : DecodeOptions
    smoothing : float
        See :class:`HistogramSmoother`.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    int
        Number of frames.

    Raises
    ------
    autocolor.imaging.images.ImageError
        If the file is no video that can be read, or the output cannot be written.
    """
    smoother = HistogramSmoother(smoothing)

    def colorize(light: FloatArray) -> FloatArray:
        return smoother.smooth(colorizer.predict(light)).decode(options)

    try:
        with atomic_path(output) as partial, av.open(str(video)) as source:
            if not source.streams.video:
                raise ImageError(f"{video}: has no pictures")
            with av.open(str(partial), "w") as target:
                frames = _transcode(source, target, output, colorize, progress)
            if not frames:
                raise ImageError(f"{video}: has no frames")
    except FileNotFoundError:
        raise ImageError(f"{video}: no such file") from None
    except (FFmpegError, OSError) as error:
        raise ImageError(f"{video}: cannot be colorized: {error}") from error
    return frames


def _transcode(
    source: Any,
    target: Any,
    output: Path,
    colorize: Callable[[FloatArray], FloatArray],
    progress: bool,
) -> int:
    pictures = source.streams.video[0]
    pictures.thread_type = "AUTO"
    codec = "libvpx-vp9" if output.suffix.lower() == ".webm" else "libx264"
    rate = pictures.average_rate or Fraction(25)
    encoder = target.add_stream(codec, rate=rate, options={"crf": "18"})
    encoder.width, encoder.height = pictures.codec_context.width, pictures.codec_context.height
    # Colour at half the resolution, which players expect, needs even sides.
    even = encoder.width % 2 == 0 and encoder.height % 2 == 0
    encoder.pix_fmt = "yuv420p" if even else "yuv444p"
    encoder.codec_context.time_base = pictures.time_base
    sounds = {sound.index: target.add_stream_from_template(sound) for sound in source.streams.audio}
    wanted = [pictures, *source.streams.audio]
    frames = 0
    with tqdm(
        total=pictures.frames or None, unit="frame", desc=output.name, disable=not progress
    ) as bar:
        for packet in source.demux(wanted):
            if packet.stream.index in sounds:
                if packet.dts is not None:  # the last one is empty
                    packet.stream = sounds[packet.stream.index]
                    target.mux(packet)
                continue
            for frame in packet.decode():
                for encoded in _encode(frame, encoder, colorize):
                    target.mux(encoded)
                frames += 1
                bar.update()
        target.mux(encoder.encode())
    return frames


def _encode(
    frame: Any, encoder: Any, colorize: Callable[[FloatArray], FloatArray]
) -> Iterator[Any]:
    rgb = frame.to_ndarray(format="rgb24").astype(np.float32) / np.float32(255)
    colored = av.VideoFrame.from_ndarray(to_uint8(colorize(lightness(rgb))), format="rgb24")
    colored.pts, colored.time_base = frame.pts, frame.time_base
    yield from encoder.encode(colored)
