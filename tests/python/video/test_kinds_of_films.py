"""Films of every kind come out as a player shows them, or are refused; judged by another ffmpeg."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from autocolor.runtime.colorizer import Colorizer
from autocolor.video.film import colorize_video
from autocolor.video.formats import result_suffix
from helpers.films import RATE, Film, play, write_film

ROTATIONS = (0, 90, 180, 270)
ASPECTS = ("1", "4/3", "8/9", "2")
RATES = ("25", "30000/1001", "12")
INTERLACED = {"options": ("-flags", "+ilme+ildct"), "filters": "setfield=tff"}
VARIABLE = {"filters": "setpts=N*N/(40*TB)"}


def turned_and_stretched() -> list[Film]:
    """Every rotation with every aspect, in turn in the kinds of files that hold both."""
    kinds = itertools.cycle(
        [
            (".mp4", "libx264", ("aac",)),
            (".mkv", "libx264", ("pcm_s16le",)),
            (".mov", "mpeg4", ("pcm_s16be",)),
            (".mkv", "libvpx-vp9", ("libopus",)),
            (".mp4", "libx265", ()),
        ]
    )
    rates = itertools.cycle(RATES)
    return [
        Film(suffix, codec, rotation=rotation, aspect=aspect, rate=next(rates), sounds=sounds)
        for rotation, aspect in itertools.product(ROTATIONS, ASPECTS)
        for suffix, codec, sounds in [next(kinds)]
    ]


def sounds() -> list[Film]:
    """Sounds, those that no MP4 holds among them, in the containers that hold them."""
    held = {
        ".avi": (
            "pcm_s16le",
            "pcm_u8",
            "adpcm_ms",
            "adpcm_ima_wav",
            "libmp3lame",
            "ac3",
            "pcm_mulaw",
        ),
        ".mkv": ("flac", "libvorbis", "pcm_s24le", "libopus", "ac3"),
        ".mov": ("pcm_s24le", "alac", "pcm_s8"),
        ".mp4": ("libmp3lame", "pcm_s16le", "flac"),
    }
    codecs = {".avi": "mpeg4"}
    return [
        Film(suffix, codecs.get(suffix, "libx264"), sounds=(sound,))
        for suffix, several in held.items()
        for sound in several
    ]


def tagged(matrix: str, primaries: str, transfer: str) -> str:
    return f"setparams=colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}"


KINDS = (
    *turned_and_stretched(),
    *sounds(),
    Film(".mp4", sounds=("aac", "ac3", "aac")),  # several tracks
    Film(".avi", "mpeg4", sounds=("pcm_s16le", "libmp3lame")),
    Film(".avi", "mjpeg", "yuvj420p", sounds=("pcm_s16le",)),
    Film(".avi", "ffv1", "gray"),
    Film(".avi", "rawvideo", "yuyv422"),
    Film(".webm", "libvpx", aspect="4/3", sounds=("libvorbis",)),
    Film(".webm", "libvpx-vp9", size=(47, 63)),  # odd sizes
    Film(".mp4", pixels="yuv444p", size=(47, 63), rotation=90),
    Film(".mkv", "ffv1", "yuv420p", size=(33, 51), aspect="4/3"),
    Film(".mov", "prores_ks", "yuv422p10le", sounds=("pcm_s24le",)),  # 10 bit
    Film(".mkv", pixels="yuv420p10le", rotation=270),
    Film(".mkv", "ffv1", "gray16le"),
    Film(".mp4", pixels="yuvj420p"),  # full range
    Film(".mkv", options=("-color_range", "pc"), filters="scale=out_range=pc"),
    Film(".mp4", filters=tagged("bt709", "bt709", "bt709")),
    Film(".mkv", "libx265", "yuv420p10le", filters=tagged("bt2020nc", "bt2020", "bt2020-10")),
    Film(".mp4", pixels="gray"),
    Film(".mp4", "libx264rgb", "rgb24"),
    Film(".mkv", "huffyuv", "rgb24"),
    Film(".mp4", options=("-bf", "3", "-b_strategy", "0"), frames=20, sounds=("aac",)),  # B-frames
    Film(".avi", "mpeg4", options=("-bf", "2"), frames=20, sounds=("libmp3lame",)),
    Film(".mkv", **VARIABLE, sounds=("aac",)),
    Film(".mp4", **VARIABLE, rotation=180),
    Film(".webm", "libvpx-vp9", **VARIABLE),
    Film(".mkv", muxing=("-output_ts_offset", "7.5"), sounds=("aac",)),  # does not start at 0
    Film(".mpg", "mpeg2video", **INTERLACED, size=(96, 128), sounds=("mp2",)),
    Film(".mkv", "mpeg2video", **INTERLACED, size=(96, 128), aspect="16/15"),
    Film(".mp4", **INTERLACED, size=(96, 128), aspect="8/9"),
    Film(".ts", sounds=("aac",)),
    Film(".m2ts", "mpeg2video", sounds=("ac3",)),
    Film(".flv", "flv", sounds=("libmp3lame",)),
    Film(".wmv", "wmv2", sounds=("wmav2",)),
    Film(".3gp", "h263", size=(96, 128), aspect="12/11"),
    Film(".m4v", sounds=("aac",)),
    Film(".mp4", "libsvtav1", size=(64, 96)),
    Film(".gif", "gif", "gray"),
)
QUICK = [KINDS[1], KINDS[5], KINDS[16], KINDS[18]]


class Sepia:
    """In place of a network: every pixel is the same brown."""

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        height, width = (side // 4 for side in image.shape)
        hue, chroma = np.zeros((2, 32, height, width), np.float32)
        hue[2], chroma[6] = 1, 1
        return hue, chroma


def colorize_and_judge(film: Film, folder: Path, model_folder: Path) -> None:
    """Fail where what is shown of the result is not what is shown of the film, in colour."""
    source = write_film(folder / f"film{film.suffix}", film)
    output = folder / f"out{result_suffix(film.suffix)}"
    said: list[str] = []
    colorizer = Colorizer(model_folder, net=Sepia())
    number = colorize_video(colorizer, source, output, progress=False, say=said.append)
    assert sorted(path.name for path in folder.iterdir()) == sorted([source.name, output.name])
    before, after = play(source), play(output)

    assert len(after.frames) == number == len(before.frames) == film.frames
    height, width = after.frames.shape[1:3]
    shown_height, shown_width = film.shown_size()
    # Sides are whole numbers, of stretched films even ones.
    assert abs(width / height / (shown_width / shown_height) - 1) < 1.5 / min(width, height)
    np.testing.assert_allclose(after.times, before.times, atol=0.0015)  # Matroska counts ms
    assert after.end == pytest.approx(before.end, abs=0.5 / float(Fraction(film.rate)))

    greys = after.frames.mean(axis=-1)
    # Two lossy codecs, the first at its default, which is poor in some; frames of another moment,
    # turned, or in another range, differ by more.
    error = np.abs(greys - film.shown((height, width))).mean(axis=(1, 2))
    assert error.max() < 6, error
    assert np.abs(greys.mean((1, 2)) - before.frames.mean((1, 2, 3))).max() < 2
    assert np.ptp(after.frames.astype(int), axis=-1).mean() > 10

    assert len(after.sounds) == len(before.sounds) == len(film.sounds)
    for old, new in zip(before.sounds, after.sounds, strict=True):
        assert abs(len(new) - len(old)) < 0.05 * RATE  # encoders fill their last packet
        length = min(len(old), len(new))
        loud_before, loud_after = (
            np.abs(sound[:length].astype(float))
            .reshape(-1)[: length // 480 * 480]
            .reshape(-1, 480)
            .mean(axis=1)
            for sound in (old, new)
        )
        assert loud_after.mean() == pytest.approx(loud_before.mean(), rel=0.15)
        assert np.corrcoef(loud_before, loud_after)[0, 1] > 0.9  # it starts when it did


@pytest.mark.parametrize("film", QUICK, ids=str)
def test_some_kinds_of_films(film: Film, tmp_path: Path, model_folder: Path) -> None:
    colorize_and_judge(film, tmp_path, model_folder)


@pytest.mark.slow
@pytest.mark.parametrize("film", KINDS, ids=str)
def test_every_kind_of_film(film: Film, tmp_path: Path, model_folder: Path) -> None:
    colorize_and_judge(film, tmp_path, model_folder)


def test_there_are_enough_kinds() -> None:
    assert len(KINDS) >= 60
    assert len(set(map(str, KINDS)) | {film.options for film in KINDS}) >= 60
