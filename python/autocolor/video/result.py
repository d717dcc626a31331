"""Write films: pictures in segments, which are then joined with the source's sound and subtitles."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange

from autocolor.video.formats import CONTAINERS, VIDEO_OUTPUT_SUFFIXES, Container
from autocolor.video.source import SCALING, Survey, VideoError, decoded, open_video, read_packets

# What holds packets between the encoder and the result.
_SEGMENT_FORMAT = "nut"
_TAGS = ("language", "title")
# Of sound that is encoded anew, by the number of channels; of other numbers, stereo is mixed.
_LAYOUTS = {1: "mono", 6: "5.1"}


# Without B-frames, segments can be joined, and any times of frames are right.
_OPTIONS = {
    "libx264": {"crf": "18", "bf": "0"},
    "libvpx-vp9": {"crf": "18", "b": "0", "cpu-used": "4"},
}


def _container(output: Path) -> Container:
    container = CONTAINERS.get(output.suffix.lower())
    if container is None:
        expected = ", ".join(VIDEO_OUTPUT_SUFFIXES)
        raise VideoError(f"{output}: expected a film ending in {expected}")
    return container


def encode_segment(frames: Iterable[npt.NDArray[np.uint8]], survey: Survey, output: Path) -> bytes:
    """Encode (height, width, 3) frames that follow each other: H.264, or VP9 for a result in .webm.

    `output` is where the whole film will be; its suffix says how.
    """
    kind = _container(output)
    content = io.BytesIO()
    with av.open(content, "w", format=_SEGMENT_FORMAT) as target:
        options = _OPTIONS[kind.pictures]
        encoder: Any = target.add_stream(
            kind.pictures, rate=Fraction(survey.rate).limit_denominator(65535), options=options
        )
        encoder.width, encoder.height = survey.width, survey.height
        # Colour at half the resolution, which players expect; of H.264 it needs even sides.
        even = survey.width % 2 == survey.height % 2 == 0
        halved = even or kind.pictures != "libx264"
        encoder.pix_fmt = "yuv420p" if halved else "yuv444p"
        context = encoder.codec_context
        context.colorspace, context.color_range = survey.matrix, ColorRange.MPEG
        context.color_primaries, context.color_trc = survey.primaries, survey.transfer
        for number, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format=encoder.pix_fmt,
                dst_colorspace=survey.matrix,
                dst_color_range=ColorRange.MPEG,
                interpolation=SCALING,
            )
            frame.pts = number
            target.mux(encoder.encode(frame))
        target.mux(encoder.encode())
    return content.getvalue()


def join(
    video: Path,
    segments: Iterable[bytes],
    survey: Survey,
    output: Path,
    target_file: str,
    say: Callable[[str], None],
) -> None:
    """Write a film of encoded segments, with the sound, subtitles and tags of its source.

    Sound that the container holds is copied, other sound is encoded anew. What cannot be held is
    left out, and said. The segments are of :func:`encode_segment`, from the first frame on; the suffix of
    `output` chooses the container, which is written to `target_file`.
    """
    kind = _container(output)
    start = Fraction(survey.start)
    with open_video(video) as (source, pictures):
        with av.open(target_file, "w", format=kind.format) as target:
            # Tags that say what a file is are the container's own.
            for name in ("title", "artist", "date", "comment", "creation_time", "copyright"):
                if name in source.metadata:
                    target.metadata[name] = source.metadata[name]
            packets = _picture_packets(segments, survey, target, pictures)
            waiting = next(packets)
            others = [stream for stream in source.streams if stream is not pictures]
            writers = {}
            for stream in others:
                writer = _writer(video, stream, target, output, start, say)
                if writer is not None:
                    writers[stream.index] = writer
            wanted = [stream for stream in others if stream.index in writers]
            for packet in read_packets(video, source, wanted):
                time = packet.dts if packet.dts is not None else packet.pts
                seconds = None if time is None else time * packet.time_base - start
                while waiting is not None and seconds is not None and _time(waiting) <= seconds:
                    target.mux(waiting)
                    waiting = next(packets, None)
                target.mux(writers[packet.stream.index](packet))
            while waiting is not None:
                target.mux(waiting)
                waiting = next(packets, None)


def _time(packet: Any) -> Fraction:
    return Fraction(packet.dts * packet.time_base)


def _picture_packets(
    segments: Iterable[bytes], survey: Survey, target: Any, pictures: Any
) -> Iterator[Any]:
    """Yield the packets of all segments with the times of the source's frames."""
    base = Fraction(survey.time_base)
    ends = (*survey.times[1:], survey.end)
    stream = None
    number = 0
    for segment in segments:
        with av.open(io.BytesIO(segment), "r", format=_SEGMENT_FORMAT) as source:
            (encoded,) = source.streams.video
            if stream is None:
                stream = target.add_stream_from_template(encoded)
                stream.codec_context.framerate = Fraction(survey.rate).limit_denominator(65535)
                stream.time_base = base
                _copy_tags(pictures, stream)
            for packet in source.demux(encoded):
                if packet.size:
                    packet.stream, packet.time_base = stream, base
                    packet.pts = packet.dts = survey.times[number]
                    packet.duration = ends[number] - survey.times[number]
                    number += 1
                    yield packet


def _copy_tags(source: Any, target: Any) -> None:
    target.metadata.update(
        {name: source.metadata[name] for name in _TAGS if name in source.metadata}
    )
    target.disposition = source.disposition


def _writer(
    video: Path, stream: Any, target: Any, output: Path, start: Fraction, say: Callable[[str], None]
) -> Callable[[Any], list[Any]] | None:
    """Return what makes packets of the result from one of a stream, or None, which is said."""
    kind = _container(output)
    codec = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
    name = f"{stream.type} {stream.index} ({codec})"
    held = stream.codec_context is not None and codec in target.supported_codecs
    if stream.type == "audio" and stream.codec_context is not None:
        # MP4 can hold PCM, which few players know.
        if not held or (kind.format == "mp4" and codec.startswith("pcm_")):
            layout = _LAYOUTS.get(stream.layout.nb_channels, "stereo")
            say(f"{name} becomes {kind.sound} ({layout}): {output.suffix} does not hold it well")
            return _transcoder(video, stream, target, kind.sound, layout, start)
        return _copier(stream, target, start)
    if stream.type == "subtitle" and held:
        return _copier(stream, target, start)
    if stream.type == "attachment" and kind.format == "matroska":
        target.add_stream_from_template(stream)
        return None
    say(f"{name} is left out: {output.suffix} does not hold it, or nothing is known of it")
    return None


def _copier(stream: Any, target: Any, start: Fraction) -> Callable[[Any], list[Any]]:
    copy = target.add_stream_from_template(stream)
    _copy_tags(stream, copy)
    offset = round(start / stream.time_base)

    def write(packet: Any) -> list[Any]:
        if packet.dts is None and packet.pts is None:
            return []  # the last one, which is empty
        packet.stream = copy
        packet.pts = None if packet.pts is None else packet.pts - offset
        packet.dts = None if packet.dts is None else packet.dts - offset
        return [packet]

    return write


def _transcoder(
    video: Path, stream: Any, target: Any, codec: str, layout: str, start: Fraction
) -> Callable[[Any], list[Any]]:
    rates = av.Codec(codec, "w").audio_rates or [stream.rate]
    # The nearest above, so that nothing is lost.
    rate = min((rate for rate in rates if rate >= stream.rate), default=max(rates))
    encoder = target.add_stream(codec, rate=rate)
    encoder.layout = layout
    _copy_tags(stream, encoder)

    def write(packet: Any) -> list[Any]:
        packets = []
        for frame in decoded(video, packet):
            if frame.pts is not None:
                frame.pts -= round(start / frame.time_base)
            packets += encoder.encode(frame)
        if not packet.size:
            packets += encoder.encode()
        return packets

    return write
