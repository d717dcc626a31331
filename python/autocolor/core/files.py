"""Files that appear whole or not at all, their kind, names, checksums and lines, locks, errors in a line."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import platform
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from autocolor.core.errors import AutocolorError

DAMAGED = (
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What readers of NumPy's, ZIP and HDF5 files and of protobufs raise on damaged or hostile ones."""

_LONGEST_NAME = 255  # bytes, of every usual file system
_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "named pipe",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFSOCK: "socket",
}


class LockedError(AutocolorError):
    """Another process has what only one can have; one line that names the process."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of writing `path` in the block name it: that of a full disk names no file."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


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
        with naming(path):
            yield partial
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes | memoryview) -> None:
    """Write a whole file or nothing; a text in UTF-8, but for bytes of names that are none."""
    with atomic_path(path) as partial:
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogateescape")
        partial.write_bytes(content)


@contextmanager
def checked_path(path: Path) -> Iterator[Path]:
    """As `atomic_path`, with the checksum that :func:`check_undamaged` knows."""
    with atomic_path(path) as partial:
        yield partial
        digest = file_sha256(partial)
        checksum_of(path).unlink(missing_ok=True)  # before: a new file never has an old one
    write_checksum(path, digest)


def checksum_of(path: Path) -> Path:
    """Return the file beside `path` that has its SHA-256, as ``sha256sum --check`` reads it."""
    return path.with_name(f"{path.name}.sha256")


def write_checksum(path: Path, digest: str | None = None, note: str = "") -> None:
    """Write the checksum of a file beside it, with a note in a comment."""
    line = f"{digest or file_sha256(path)}  {path.name}\n"
    write_atomically(checksum_of(path), (f"# {note}\n" if note else "") + line)


def check_undamaged(path: Path, error: type[AutocolorError]) -> None:
    """Raise `error`, in one line, if a file is not what a checksum beside it says."""
    checksum = checksum_of(path)
    try:
        lines = checksum.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    digest = file_sha256(path)
    if all(line.split(" ")[0] != digest for line in lines):
        raise error(
            f"{path}: is cut off or damaged: its SHA-256 is not that of {checksum.name} (if it was "
            "replaced on purpose, remove that)"
        )


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock `path`, which one process at a time can have; it ends with its process.

    Raises
    ------
    LockedError
        If another process has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open_locked(path) as stream:
        try:
            with naming(path):
                stream.truncate(0)
                stream.write(f"process {os.getpid()} of {platform.node()}")
                stream.flush()
            yield
        finally:
            path.unlink(missing_ok=True)


def _open_locked(path: Path) -> TextIO:
    while True:
        stream = path.open("a+", encoding="utf-8")
        try:
            # Unlike flock's, this lock is not handed down to children, which may outlive the process.
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who had it before may have removed the file since it was opened.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(stream.fileno())):
                return stream
            stream.close()
        except OSError as error:
            stream.seek(0)
            holder = stream.read() or "another process"
            stream.close()
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise LockedError(
                f"{path.parent}: {holder} is at work here; wait for it, or choose another folder"
            ) from None


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
