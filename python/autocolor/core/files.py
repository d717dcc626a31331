"""Files that appear whole or not at all, their hashes and lines, and errors in one line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it replaces `path` when the block ends well.

    If the block raises, `path` is left as it was and the partial file is removed.
    """
    # The suffix stays last, for writers that choose the format by it.
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file, without their ends.

    A byte order mark in front, which Windows programs write, is no part of the first line. Bytes
    that are no UTF-8 are kept, as in names of files.
    """
    lines = path.read_bytes().decode("utf-8-sig", "surrogateescape").split("\n")
    if not lines[-1]:
        lines.pop()  # what follows the last line's end
    return [line.removesuffix("\r") for line in lines]


def one_line(error: BaseException) -> str:
    """Return the message of an error without line breaks, or its name where there is none."""
    return " ".join(str(error).split()) or type(error).__name__
