"""Damage real files and see what a reader makes of them.

A reader may return or raise the errors that it documents. It must not crash, hang, take memory
without bound, raise anything else, or leave a file behind.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import resource
import signal
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autocolor.core.isolation import Failure, call_in_child, parse_failure

ACCEPTED, REFUSED = "accepted", "refused"

_INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000,
                0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)  # fmt: skip
_WORDS = (
    b"-1",
    b"0",
    b"1",
    b"2147483648",
    b"1e39",
    b"nan",
    b"\n",
    b"\t",
    b"\0",
    b"\xff\xfe",
    b"../",
    b"{",
    b"}",
    b'"',
    b"[",
    b":",
    b"/dev/null",
    b"\xf0\x9f\x8c\x88",
)


@dataclass(frozen=True)
class Reader:
    """Something that reads files."""

    name: str
    file_name: str  #: What the file is called, since some readers go by the suffix
    read: Callable[[Path], object]  #: Reads the file at a path
    refusals: tuple[type[Exception], ...]  #: What it documents to raise
    seeds: Sequence[bytes]  #: Contents that it accepts


@dataclass(frozen=True)
class Limits:
    """What reading one input may take: seconds of wall-clock time, and bytes of memory."""

    seconds: int = 30
    memory: int = 3 * 2**30


@dataclass(frozen=True)
class Outcome:
    """What became of an input: its content, and "accepted", "refused" or what went wrong."""

    content: bytes
    result: str

    @property
    def is_fault(self) -> bool:
        """Whether the reader did what it must not do."""
        return self.result not in (ACCEPTED, REFUSED)


def mutate(content: bytes, others: Sequence[bytes], generator: np.random.Generator) -> bytes:
    """Return `content` with one to eight random changes.

    Bits flip, bytes and integers take values at the edges of their range, and parts vanish, repeat,
    move in from one of `others`, or give way to words that mean something in text formats. Of text,
    half of the results have changes of whole words alone, so that more of them parse.
    """
    if content.isascii() and generator.random() < 0.5:
        return _mutate_words(content, generator)
    data = bytearray(content)
    for _ in range(min(int(generator.geometric(0.4)), 8)):
        if not data:
            return bytes(data)
        at = int(generator.integers(len(data)))
        length = int(min(generator.geometric(0.02), len(data) - at))
        kind = generator.integers(9)
        if kind == 0:
            data[at] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            data[at] = int(generator.integers(256))
        elif kind in (2, 3):
            form = ("B", "<H", ">H", "<I", ">I", "<Q", ">Q")[generator.integers(7)]
            size = struct.calcsize(form)
            value = _INTERESTING[generator.integers(len(_INTERESTING))] % 256**size
            data[at : at + size] = struct.pack(form, value)
        elif kind == 4:
            del data[at : at + length]
        elif kind == 5:
            data[at:at] = data[at : at + length] * int(generator.integers(1, 20))
        elif kind == 6:
            other = others[int(generator.integers(len(others)))]
            start = int(generator.integers(len(other)))
            data[at : at + length] = other[start : start + length]
        elif kind == 7:
            data[at : at + int(generator.integers(4))] = _WORDS[generator.integers(len(_WORDS))]
        else:
            del data[at:]
    return bytes(data)


def _mutate_words(content: bytes, generator: np.random.Generator) -> bytes:
    words = re.split(rb"(\W+)", content)
    for _ in range(min(int(generator.geometric(0.7)), 8)):
        at = 2 * int(generator.integers((len(words) + 1) // 2))
        other = 2 * int(generator.integers((len(words) + 1) // 2))
        if words[at].isdigit() and generator.random() < 0.7:
            words[at] = str(_INTERESTING[generator.integers(len(_INTERESTING))]).encode()
        elif generator.random() < 0.5:
            words[at] = words[other]
        else:
            words[at], words[other] = words[other], words[at]
    return b"".join(words)


def mutations(reader: Reader, count: int, seed: int) -> Iterator[bytes]:
    """Yield `count` damaged files, the same for the same seed."""
    for index in range(count):
        generator = np.random.default_rng((seed, index))
        chosen = reader.seeds[int(generator.integers(len(reader.seeds)))]
        yield mutate(chosen, reader.seeds, generator)


def try_inputs(
    reader: Reader, contents: Iterator[bytes], limits: Limits | None = None
) -> Iterator[Outcome]:
    """Have a child process read each input; where it ends, another one goes on.

    Yields outcomes in order. Faults are "signal 11", "hang", "exit status 1", "left …" for a file that it
    has written, or type and text of an error that is not documented.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="autocolor_fuzz_") as name:
        folder = Path(name)
        child = _Child(reader, folder, limits)
        try:
            for content in contents:
                (folder / reader.file_name).write_bytes(content)
                result = child.ask()
                if result is None:
                    result = child.end()
                    child = _Child(reader, folder, limits)
                left = sorted(
                    path.name for path in folder.iterdir() if path.name != reader.file_name
                )
                yield Outcome(content, f"left {', '.join(left)}" if left else result)
                if left:
                    return
        finally:
            child.end()


class _Child:
    """A forked process that reads the file whenever it is asked to."""

    def __init__(self, reader: Reader, folder: Path, limits: Limits) -> None:
        ask_read, self._ask = os.pipe()
        answer, answer_write = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            os.close(self._ask)
            os.close(answer)
            _serve(reader, folder, limits, ask_read, answer_write)
        os.close(ask_read)
        os.close(answer_write)
        self._answers = os.fdopen(answer, "r", encoding="utf-8", errors="replace")

    def ask(self) -> str | None:
        """Return what became of the file that is there now; None if the child has ended."""
        try:
            os.write(self._ask, b"\n")
        except BrokenPipeError:
            return None
        line = self._answers.readline()
        return str(json.loads(line)) if line.endswith("\n") else None

    def end(self) -> str:
        """Close the pipes, wait for the child, and return how it has ended."""
        os.close(self._ask)
        self._answers.close()
        _, status = os.waitpid(self._process, 0)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            return "hang" if number == signal.SIGALRM else f"signal {number}"
        return f"exit status {os.WEXITSTATUS(status)}"


def run_forked(
    function: Callable[..., object], args: Sequence[Any], seconds: float = 600
) -> Failure | None:
    """Do what `run_isolated` does in a fork of this process: many times as fast.

    For fuzzing: this process must not have threads, which a fork has not, and so must not have run
    Caffe.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.dup2(output.fileno(), 1)
                os.dup2(errors.fileno(), 2)
                resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
                status = call_in_child(function, args)
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        for file in (output, errors):
            file.seek(0)
        return parse_failure(os.waitstatus_to_exitcode(status), output.read(), errors.read())


def _serve(reader: Reader, folder: Path, limits: Limits, asked: int, answer: int) -> None:
    """Read whenever there is a byte in the pipe `asked`; never returns."""
    faulthandler.disable()  # crashes are wanted here
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used + limits.memory, used + limits.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while os.read(asked, 1):
        signal.alarm(limits.seconds)
        result = read_once(reader, folder / reader.file_name)
        signal.alarm(0)
        os.write(answer, (json.dumps(result) + "\n").encode())
    os._exit(0)


def read_once(reader: Reader, path: Path) -> str:
    """Return "accepted", "refused", or the error that the reader does not document."""
    try:
        reader.read(path)
    except reader.refusals:
        return REFUSED
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ACCEPTED
