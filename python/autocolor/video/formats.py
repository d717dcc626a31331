"""Which files are films, and what holds their results; reads names alone, and loads no decoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

VIDEO_SUFFIXES = (
    ".3gp",
    ".avi",
    ".dv",
    ".flv",
    ".m2ts",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
    ".mts",
    ".mxf",
    ".ogv",
    ".ts",
    ".vob",
    ".webm",
    ".wmv",
)


@dataclass(frozen=True)
class Container:
    """A kind of file: the names that FFmpeg has for it, its encoder of pictures and of sound."""

    format: str
    pictures: str = "libx264"
    sound: str = "aac"


CONTAINERS = {
    ".m4v": Container("mp4"),
    ".mkv": Container("matroska", sound="flac"),
    ".mov": Container("mov"),
    ".mp4": Container("mp4"),
    ".webm": Container("webm", "libvpx-vp9", "libopus"),
}
VIDEO_OUTPUT_SUFFIXES = tuple(CONTAINERS)


def is_video(path: Path) -> bool:
    """Return whether a file is a film by its suffix, or an animated GIF."""
    if path.suffix.lower() != ".gif":
        return path.suffix.lower() in VIDEO_SUFFIXES
    if not path.is_file():  # to open a named pipe could take for ever
        return False
    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))
    except (OSError, ValueError, SyntaxError):
        return False  # whoever reads it as a photo says what is wrong


def result_suffix(suffix: str) -> str:
    """Return that of the result of a film: the same, or .mp4 where the same holds H.264 badly."""
    return suffix if suffix.lower() in VIDEO_OUTPUT_SUFFIXES else ".mp4"
