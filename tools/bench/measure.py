"""Timing that compares fairly on a noisy machine, and peak memory in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import re
import statistics
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


class ChildError(RuntimeError):
    """A child process raised, or died."""


@dataclass(frozen=True)
class Timing:
    """Wall-clock times of one piece of work."""

    seconds: tuple[float, ...]  #: One a repetition, in the order of the rounds

    @property
    def median(self) -> float:
        """Median, in seconds."""
        return statistics.median(self.seconds)

    @property
    def minimum(self) -> float:
        """Least time, in seconds: what the work takes when nothing else disturbs it."""
        return min(self.seconds)


def interleaved(
    work: Mapping[str, Callable[[], object]], repetitions: int, *, warm_up: int = 1
) -> dict[str, Timing]:
    """Time several pieces of work in turns, A B C A B C and so on.

    A machine that slows down for a while then slows all of them. The rounds of the `warm_up`, before
    those that are timed, are not: caches, pages and threads are then there.
    """
    if repetitions < 1:
        raise ValueError(f"repetitions: expected at least 1, got {repetitions}")
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(warm_up + repetitions):
        for name, function in work.items():
            start = time.perf_counter()
            function()
            taken = time.perf_counter() - start
            if number >= warm_up:
                seconds[name].append(taken)
    return {name: Timing(tuple(times)) for name, times in seconds.items()}


def speedup(baseline: Timing, ours: Timing) -> float:
    """Return how many times faster `ours` is: the median of the rounds' ratios.

    Both come from one call of :func:`interleaved`, so that a round's two times were taken next to
    each other.
    """
    return statistics.median(b / o for b, o in zip(baseline.seconds, ours.seconds, strict=True))


def resident_bytes(*, peak: bool = False) -> int:
    """Return the resident memory of this process now, or at its peak, in bytes."""
    # getrusage's ru_maxrss would not do: it survives exec, so a child starts with its parent's peak.
    field = "VmHWM" if peak else "VmRSS"
    status = Path("/proc/self/status").read_text(encoding="ascii")
    match = re.search(rf"{field}:\s+(\d+) kB", status)
    if match is None:
        raise OSError(f"/proc/self/status: expected a line {field}, found none")
    return 1024 * int(match.group(1))


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for the processes that start meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class PassProcess:
    """Another library's program, which runs one pass for each line that it reads.

    It says its library's version first, the seconds of each pass, and may say something at its end.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.version = self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise OSError(f"{' '.join(self._command)}: ended with status {self._process.wait()}")
        return line

    def __call__(self) -> None:
        """Run one pass."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._answer()

    def close(self) -> str:
        """End the process; return what it says then."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        last = self._process.stdout.read().strip()
        self._process.wait()
        return last


def _child(
    connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    try:
        value = function(*arguments)
        connection.send((None, value, resident_bytes(peak=True)))
    except Exception:  # the parent reports it
        connection.send((traceback.format_exc(), None, 0))


def in_child(function: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    """Return what a function of a module gives in a fresh process, and that one's peak memory in bytes.

    Of the memory, Python and the libraries that the function imports are part. A ChildError has the
    traceback of what it raised, or says how the process died: Caffe ends its process on errors.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        error, value, peak = receiver.recv()
    except EOFError:
        process.join()
        raise ChildError(
            f"{function.__module__}.{function.__qualname__}: its process ended with exit status "
            f"{process.exitcode} and gave no result"
        ) from None
    finally:
        receiver.close()
    process.join()
    if error is not None:
        raise ChildError(f"{function.__module__}.{function.__qualname__} raised:\n{error}")
    return value, peak
