"""Films of every kind, written and judged by an ffmpeg that the library does not use.

The library reads and writes with PyAV, which has FFmpeg's libraries of one version; the program is that of
imageio-ffmpeg, another version. What the frames hold is known, so no reader is trusted with the source.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

RATE = 48000  # of the sound that is judged


@dataclass(frozen=True)
class Film:
    """What is written: 12 frames of a bright disc that moves over a ramp with a dark corner.

    `rotation` is in degrees, clockwise, as it is shown; `aspect` that of the pixels as they are
    stored; `sounds` are codecs, one a track.
    """

    suffix: str
    codec: str = "libx264"
    pixels: str = "yuv420p"
    size: tuple[int, int] = (48, 64)  # height, width
    rotation: int = 0
    aspect: str = "1"
    rate: str = "25"
    sounds: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    filters: str = ""
    muxing: tuple[str, ...] = ()
    frames: int = 12

    def __str__(self) -> str:
        parts = [self.suffix[1:], self.codec, self.pixels, "x".join(map(str, self.size[::-1]))]
        parts += [f"turned{self.rotation}"] if self.rotation else []
        parts += [f"sar{self.aspect.replace('/', ':')}"] if self.aspect != "1" else []
        parts += [self.rate.replace("/", ":"), *self.sounds]
        parts += [self.filters.split("=")[0]] if self.filters else []
        return "-".join(parts)

    def stored(self) -> np.ndarray:
        """Return the (frames, H, W) uint8 greys."""
        height, width = self.size
        y, x = np.mgrid[:height, :width]
        greys = np.empty((self.frames, height, width), np.uint8)
        for index in range(self.frames):
            grey = 60 + 100 * x / width + 20 * y / height
            grey[np.hypot(y - height / 2, x - width * (index + 1) / 14) < height / 5] = 225
            grey[: height // 4, : width // 4] = 30
            greys[index] = grey
        return greys

    def shown(self, size: tuple[int, int]) -> np.ndarray:
        """Return the greys as they are to be shown, resized to (height, width)."""
        turned = np.rot90(self.stored(), -self.rotation // 90, axes=(1, 2))
        return np.stack(
            [
                np.asarray(Image.fromarray(grey).resize(size[::-1], Image.Resampling.BICUBIC))
                for grey in turned
            ]
        )

    def shown_size(self) -> tuple[float, float]:
        """Return (height, width) as shown; one of the two directions may be scaled as well."""
        height, width = self.size
        wide = width * float(Fraction(self.aspect))
        return (wide, height) if self.rotation % 180 else (height, wide)


def ffmpeg(*arguments: object, content: bytes | None = None) -> bytes:
    """Run ffmpeg; returns what it writes to its output."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    done = subprocess.run(
        [program, "-hide_banner", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
        if content is None
        else [program, "-hide_banner", "-v", "error", "-y", *map(str, arguments)],
        input=content,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout


def write_film(path: Path, film: Film) -> Path:
    """Write a film to a file."""
    height, width = film.size
    command = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}", "-r", film.rate]
    command += ["-color_range", "pc", "-i", "-"]
    for _ in film.sounds:
        # A tone that starts after a fifth of a second: what comes too early or late is noticed.
        length = film.frames / float(Fraction(film.rate))
        tone = f"if(gt(t,{length / 5}),0.5*sin(2*PI*440*t),0)"
        source = f"aevalsrc=exprs={tone}|{tone}:s=44100:d={length}".replace(",", r"\,")
        command += ["-f", "lavfi", "-i", source]
    filters = [film.filters] if film.filters else []
    filters += [f"setsar={film.aspect}"] if film.aspect != "1" else []
    command += ["-vf", ",".join(filters)] if filters else []
    command += ["-map", "0:v"]
    for track, sound in enumerate(film.sounds, start=1):
        command += ["-map", f"{track}:a", f"-c:a:{track - 1}", sound]
    command += ["-strict", "-2", "-c:v", film.codec, "-pix_fmt", film.pixels, *film.options]
    command += film.muxing
    first = path.with_name(f"plain{path.suffix}") if film.rotation else path
    ffmpeg(*command, "-fps_mode", "passthrough", first, content=film.stored().tobytes())
    if film.rotation:
        ffmpeg(
            "-display_rotation",
            -film.rotation,
            "-i",
            first,
            "-map",
            0,
            "-c",
            "copy",
            *film.muxing,
            path,
        )
        first.unlink()
    return path


@dataclass(frozen=True)
class Shown:
    """What a player shows of a file: (N, H, W, 3) uint8 frames, their times, and mono sounds."""

    frames: np.ndarray
    times: np.ndarray
    end: float
    sounds: tuple[np.ndarray, ...]


def play(path: Path) -> Shown:
    """Decode a film as it is shown: turned, with square pixels, times from its start."""
    # The fast way to RGB makes it darker, by 2 of 255.
    exact = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
    square = f"scale=w=iw*sar:h=ih:{exact},setsar=1,scale={exact},format=rgb24"
    common = ("-copyts", "-i", path, "-map", "0:v:0", "-vf", square, "-fps_mode", "passthrough")
    listed = ffmpeg(
        *common, "-map", "0:a?", "-enc_time_base:v", "demux", "-f", "framecrc", "-"
    ).decode()
    bases = [Fraction(base) for base in re.findall(r"#tb \d: (\S+)", listed)]
    width, height = map(int, re.search(r"#dimensions 0: (\d+)x(\d+)", listed).groups())
    rows = [
        [int(field) for field in line.split(",")[:4]]
        for line in listed.splitlines()
        if not line.startswith("#")
    ]
    start = min(float(bases[track] * time) for track, _, time, _ in rows)
    times = np.array([float(bases[0] * time) for track, _, time, _ in rows if track == 0]) - start
    last = max(row[2] + row[3] for row in rows if row[0] == 0)
    end = float(bases[0] * last) - start
    raw = ffmpeg(*common, "-f", "rawvideo", "-")
    frames = np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)
    information = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", path],
        capture_output=True,
        text=True,
        check=False,
        errors="replace",
    ).stderr
    # From the film's start, silence included.
    from_start = f"asetpts=PTS-{start}/TB,aresample={RATE}:async=1:first_pts=0"
    sounds = tuple(
        np.frombuffer(
            ffmpeg(
                "-copyts",
                "-i",
                path,
                "-map",
                f"0:a:{track}",
                "-af",
                from_start,
                "-ac",
                1,
                "-f",
                "s16le",
                "-",
            ),
            np.int16,
        )
        for track in range(len(re.findall(r"Stream #0.*: Audio:", information)))
    )
    return Shown(frames, times, end, sounds)
