"""Read films with PyAV: the first pass, which learns what there is, and frames as they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.filter import Graph
from av.video.reformatter import ColorRange, Interpolation

from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.core.errors import AutocolorError
from autocolor.core.files import one_line
from autocolor.core.progress import tqdm
from autocolor.imaging.color import lightness
from autocolor.video.smoothing import is_cut

_THUMBNAIL = (36, 64)
_MAXIMUM_SIDE = 16384  # of H.264
# H.273's numbers of what differs too much from the sRGB that networks know, and of matrices.
_HDR = {16: "PQ", 18: "HLG"}
_BT709, _UNSPECIFIED, _BT601, _MATRICES = 1, 2, 6, (0, 1, 2, 3, 4, 5, 6, 7, 9)
SCALING = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""How frames change their size and format."""


class VideoError(AutocolorError):
    """A film that cannot be read or written; one line that names the file."""


@dataclass(frozen=True)
class Survey:
    """What the first pass over a film finds."""

    #: Of the frames as they are shown: upright, with square pixels
    width: int
    height: int
    #: a, b, c, d of the display matrix: stored pixel (x, y) is shown at (a x + c y, b x + d y)
    orientation: tuple[int, int, int, int]
    #: When each frame is shown, in `time_base` from the film's start; they increase
    times: tuple[int, ...]
    end: int  #: When the last one ends
    #: Fractions: seconds, and frames per second on average
    time_base: str
    rate: str
    start: str  #: Fraction: seconds of the film's first time stamp, which becomes 0
    cuts: tuple[int, ...]  #: First frames of the shots; the first is 0
    interlaced: bool  #: Whether there are frames of two fields
    #: Of the colours, by H.273's numbers
    matrix: int
    primaries: int
    transfer: int
    notes: tuple[str, ...]  #: What is done that one might not expect

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Survey:
        """Return the survey that has these fields."""
        lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        return cls(**{**fields, **lists})


@contextmanager
def reading(video: Path) -> Iterator[None]:
    """Make VideoErrors of what goes wrong when a film is read."""
    try:
        yield
    except FileNotFoundError:
        raise VideoError(f"{video}: no such file") from None
    except (FFmpegError, OSError) as error:
        raise VideoError(f"{video}: cannot be read: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Return why the system or FFmpeg could not do something, in one line."""
    return getattr(error, "strerror", None) or one_line(error)


@contextmanager
def open_video(video: Path) -> Iterator[tuple[Any, Any]]:
    """Open a film; yields the container and its stream of pictures, of which it must have one."""
    with reading(video):
        # What no text can hold in a title is no reason to refuse a film.
        source = av.open(str(video), metadata_errors="replace")
    with source:
        pictures = _pictures(source)
        if pictures is None:
            raise VideoError(f"{video}: has no pictures that can be decoded")
        pictures.thread_type = "AUTO"
        yield source, pictures


def read_packets(video: Path, source: Any, streams: Sequence[Any]) -> Iterator[Any]:
    """Yield the packets of some streams of an open film; raises VideoErrors alone."""
    with reading(video):
        yield from source.demux(streams) if streams else ()


def decoded(video: Path, packet: Any) -> list[Any]:
    """Return the frames of a packet; raises VideoErrors alone."""
    with reading(video):
        frames: list[Any] = packet.decode()
    return frames


def _pictures(source: Any) -> Any:
    """Return the first stream of moving pictures that can be decoded: no cover, no thumbnails."""
    still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    for stream in source.streams.video:
        if stream.codec_context is not None and not stream.disposition & still:
            return stream
    return None


def survey_video(video: Path, *, progress: bool = True) -> Survey:
    """Read a whole film once, without a network: its frames, their times, and the cuts.

    Raises
    ------
    VideoError
        If the film cannot be read to its end, ends too early, or is of a kind that would come out
        wrong: HDR, turned by other than right angles, an unknown matrix.
    """
    times: list[int] = []
    cuts = [0]
    before = first = None
    end = interlaced = damaged = packets = 0
    reached = Fraction(0)
    with open_video(video) as (source, pictures):
        rate = pictures.average_rate or pictures.base_rate or Fraction(25)
        base = pictures.time_base
        step = max(1, round(1 / (rate * base)))
        start = Fraction(source.start_time or 0, av.time_base)
        offset = round(start / base)
        expected = pictures.frames or round(rate * Fraction(source.duration or 0, av.time_base))
        with tqdm(
            total=expected or None,
            unit="frame",
            desc=f"{video.name}: cuts",
            disable=not progress,
            leave=False,
        ) as bar:
            for packet in read_packets(video, source, list(source.streams)):
                if packet.pts is not None:
                    ends = (packet.pts + (packet.duration or 0)) * packet.time_base
                    reached = max(reached, ends)
                if packet.stream is not pictures:
                    continue
                packets += packet.size > 0
                for frame in decoded(video, packet):
                    first = first or frame
                    interlaced += frame.interlaced_frame
                    damaged += frame.is_corrupt
                    time = frame.pts - offset if frame.pts is not None else end
                    # Two frames of one time, which no player tells apart, would end the encoder.
                    time = max(time, times[-1] + 1) if times else time
                    thumbnail = _thumbnail(frame)
                    if before is not None and is_cut(before, thumbnail):
                        cuts.append(len(times))
                    times.append(time)
                    end = time + (frame.duration or step)
                    before = thumbnail
                    bar.update()
        if first is None:
            raise VideoError(f"{video}: has no frames")
        _check_whole(video, source, pictures, packets, reached, end * base)
        orientation = _orientation(video, first)
        aspect = pictures.sample_aspect_ratio or Fraction(1)
        width, height = _shown_size(video, first, aspect, orientation, interlaced > 0)
        matrix = _matrix(video, first)
    notes = []
    if damaged:
        notes.append(f"{damaged} damaged frames, which the decoder mended as well as it could")
    if interlaced:
        notes.append("interlaced; the fields of a frame are made one picture (bwdif)")
    if first.format.name.startswith(("bgra", "rgba", "argb", "abgr", "yuva", "ya", "gbrap")):
        notes.append("has transparency, which the result has not")
    return Survey(
        width,
        height,
        orientation,
        tuple(times),
        end,
        str(base),
        str(rate),
        str(start),
        tuple(cuts),
        interlaced > 0,
        matrix,
        first.color_primaries,
        first.color_trc,
        tuple(notes),
    )


def read_lightness(video: Path, survey: Survey) -> Iterator[FloatArray]:
    """Yield the (height, width) float32 lightness in [0, 1] of each frame, as it is shown."""
    with open_video(video) as (source, pictures):
        packets = read_packets(video, source, [pictures])
        frames: Iterator[Any] = (frame for packet in packets for frame in decoded(video, packet))
        if survey.interlaced:
            frames = _whole_pictures(frames, pictures)
        for frame in frames:
            yield _shown_lightness(frame, survey)


def _whole_pictures(frames: Iterator[Any], pictures: Any) -> Iterator[Any]:
    """Make progressive pictures of interlaced frames, one of each; others are left as they are."""
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(template=pictures),
        graph.add("bwdif", "mode=send_frame:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    size = pictures.codec_context.width, pictures.codec_context.height
    kind = pictures.codec_context.format.name

    def pulled() -> Iterator[Any]:
        while True:
            try:
                yield graph.pull()
            except (BlockingIOError, EOFError):
                return

    for frame in frames:
        graph.push(frame.reformat(width=size[0], height=size[1], format=kind))
        yield from pulled()
    graph.push(None)
    yield from pulled()


def _shown_lightness(frame: Any, survey: Survey) -> FloatArray:
    turned = survey.orientation[0] == 0
    width, height = (survey.height, survey.width) if turned else (survey.width, survey.height)
    if frame.colorspace in (_UNSPECIFIED, 3):
        frame.colorspace = survey.matrix
    deep = frame.format.components[0].bits > 8
    rgb = frame.reformat(
        width=width,
        height=height,
        format="rgb48le" if deep else "rgb24",
        dst_color_range=ColorRange.JPEG,
        interpolation=SCALING,
    ).to_ndarray()
    light = lightness(rgb.astype(np.float32) / np.float32(65535 if deep else 255))
    return np.ascontiguousarray(_turn(light, survey.orientation))


def _turn(image: FloatArray, orientation: tuple[int, int, int, int]) -> FloatArray:
    a, b, c, d = orientation
    if a == 0:
        image, a, d = image.T, c, b
    return image[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1]


def _thumbnail(frame: Any) -> Float32Array:
    height, width = _THUMBNAIL
    small: npt.NDArray[np.uint8] = frame.reformat(
        width=width, height=height, format="gray", interpolation=Interpolation.AREA
    ).to_ndarray()
    return small.astype(np.float32) / np.float32(255)


def _check_whole(
    video: Path, source: Any, pictures: Any, packets: int, reached: Fraction, end: Fraction
) -> None:
    """Refuse a file that ends before what its header says.

    `packets` are those of the pictures, which end at `end`; those of all streams at `reached`.
    """
    found = None
    rate = pictures.average_rate or Fraction(25)
    # AVI counts empty packets, which stand for a time in which nothing changes.
    fewer = pictures.frames - packets > pictures.frames / 100
    if fewer and end + 1 / (2 * rate) < pictures.frames / rate:
        found = f"{packets} of {pictures.frames} frames"
    # Headers count time to the end of the last packet of any stream, coarsely.
    declared = Fraction(source.duration or 0, av.time_base)
    if reached + 1 / rate + Fraction(1, 10) < declared:
        found = f"{float(reached):.2f} of {float(declared):.2f} s"
    if found:
        raise VideoError(
            f"{video}: ends after {found}: it is damaged or not whole "
            "(`ffmpeg -i FILE -c copy NEW` makes a film of what is there)"
        )


def _orientation(video: Path, frame: Any) -> tuple[int, int, int, int]:
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(bytes(matrix), "<i4")[:5] / 65536
    rounded = tuple(round(value) for value in (a, b, c, d))
    if np.abs(np.subtract(rounded, (a, b, c, d))).max() > 0.02 or sorted(map(abs, rounded)) != [
        0,
        0,
        1,
        1,
    ]:
        angle = np.degrees(np.arctan2(b, a))
        raise VideoError(f"{video}: is turned by {angle:.0f}°, expected a multiple of 90°")
    return rounded


def _shown_size(
    video: Path, frame: Any, aspect: Fraction, orientation: tuple[int, ...], interlaced: bool
) -> tuple[int, int]:
    """Return width and height as shown; of pixels that are not square, the shorter side grows."""
    width, height = frame.width, frame.height
    if aspect > 1 or (aspect != 1 and interlaced):  # rows of two fields are not to be mixed
        width = 2 * round(width * aspect / 2)
    elif aspect < 1:
        height = 2 * round(height / aspect / 2)
    if orientation[0] == 0:
        width, height = height, width
    if not 0 < min(width, height) <= max(width, height) <= _MAXIMUM_SIDE:
        raise VideoError(
            f"{video}: expected sides of 1 to {_MAXIMUM_SIDE} pixels, got {width} x {height} as shown"
        )
    return width, height


def _matrix(video: Path, frame: Any) -> int:
    """Return the matrix of the colours; where nothing is said, the one that players take."""
    if frame.color_trc in _HDR:
        kind = _HDR[frame.color_trc]
        raise VideoError(
            f"{video}: is HDR ({kind}), expected standard dynamic range; convert it first"
        )
    if frame.colorspace not in _MATRICES:
        raise VideoError(f"{video}: has colours of a matrix, {frame.colorspace}, that is not known")
    if frame.colorspace in (0, 2, 3, 4, 7):
        return _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601
    return int(frame.colorspace)
