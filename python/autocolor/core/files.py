"""Files that appear whole or not at all, their kind, names, hashes and lines, and errors in one line."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autocolor.core.errors import AutocolorError

_LONGEST_NAME = 255  # bytes, of every usual file system
_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "named pipe",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFSOCK: "socket",
}


class FileKindError(AutocolorError, OSError):
    """What is no file that can be read to its end, such as a named pipe or a device; one line."""


def check_is_file(path: Path) -> None:
    """Refuse at once what is no ordinary file: of a named pipe, even opening could wait for ever.

    Raises
    ------
    FileKindError
        If it is something else.
    FileNotFoundError
        If there is none.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    if kind != stat.S_IFREG:
        raise FileKindError(f"{path}: expected a file, got a {_KINDS.get(kind, 'special file')}")


def name_digest(stem: str) -> str:
    """Return what stands for the end of a stem that is cut: a tilde and eight digits."""
    return "~" + hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]


def file_name(stem: str, ending: str, spare: int = 0) -> str:
    """Return a name of at most 255 bytes: a stem that is too long is cut, and a hash of it added.

    A name that is cut is cut further by `spare` bytes, so that there is room to add to it.
    """
    room = _LONGEST_NAME - len(os.fsencode(ending))
    if len(os.fsencode(stem)) <= room:
        return stem + ending
    digest = name_digest(stem)
    # A letter that is cut in two is left out.
    kept = os.fsencode(stem)[: room - spare - len(digest)].decode("utf-8", "ignore")
    return kept + digest + ending


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it replaces `path` when the block ends well.

    If the block raises, `path` is left as it was and the partial file is removed.
    """
    # The suffix stays last, for writers that choose the format by it.
    ending = f".{os.getpid()}.partial{path.suffix}"
    partial = path.with_name(file_name(f".{path.stem}", ending))
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    check_is_file(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file, without their ends.

    A byte order mark in front, which Windows programs write, is no part of the first line. Bytes
    that are no UTF-8 are kept, as in names of files.
    """
    check_is_file(path)
    lines = path.read_bytes().decode("utf-8-sig", "surrogateescape").split("\n")
    if not lines[-1]:
        lines.pop()  # what follows the last line's end
    return [line.removesuffix("\r") for line in lines]


def one_line(error: BaseException) -> str:
    """Return the message of an error without line breaks, or its name where there is none."""
    return " ".join(str(error).split()) or type(error).__name__
