"""How the commands of this project begin and end: their parsers, and one line with the status of shells."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from autocolor.core.errors import AutocolorError, exit_status
from autocolor.core.files import one_line

_STOPPED = 128 + signal.SIGINT
_PIPE_CLOSED = 128 + signal.SIGPIPE


def command_parser(
    description: str | None, epilog: str | None = None, prog: str | None = None
) -> argparse.ArgumentParser:
    """Return a parser whose help shows its texts in the lines that they have."""
    layout = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog, None, description, epilog, formatter_class=layout)


def at_least(low: int) -> Callable[[str], int]:
    """Return the ``type`` of an option that is an integer of at least `low`."""

    def convert(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"expected at least {low}, got {value}")
        return value

    convert.__name__ = "int"  # what argparse calls it where the text is no number
    return convert


def run_program(
    main: Callable[[], int], name: str | None = None, *, resumes: bool = False
) -> NoReturn:
    """Run a command and exit with its status: 2 on a wrong argument, 1 on another error.

    An error is told as :func:`told` does. Ctrl-C ends a command with 130, and a reader of its output
    that goes away, as in ``… | head``, with 141; both in one line, as does a full disk under its output,
    with 1. Of a file's name, what the terminal cannot show is written as an escape.

    Parameters
    ----------
    main : callable
        Returns the exit status.
    name : str, optional
        For messages; that of the file that is run unless given.
    resumes : bool
        Whether the same command, run again, goes on where it was stopped.
    """
    name = name or Path(sys.argv[0]).stem
    # Python has no streams where the shell closed them, as in `… >&-`.
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    said = ""
    try:
        try:
            status = told(main, name)
        finally:
            sys.stdout.flush()
        # The command may have taken the closed pipe for a file that cannot be written.
        status = _PIPE_CLOSED if status and _reader_is_gone() else status
    except KeyboardInterrupt:
        status = _STOPPED
        said = "stopped" + ("; the same command goes on from here" if resumes else "")
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        status = _PIPE_CLOSED
        said = "stopped, as its output is not read any more"
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        status = 1
        said = f"error: its output cannot be written: {error.strerror}"
    # The error held the frames of what it ended; generators in these have closed their bars by now.
    if said:
        _say(f"{name}: {said}")
    _drop_what_cannot_be_written()
    sys.exit(status)


def told(main: Callable[[], int], name: str) -> int:
    """Run a command; return its status, after a line about an error of ours or of the system.

    Whatever else is raised, a ValueError of another library included, is a fault in the code: it is not
    caught, so that Python shows where it is.
    """
    try:
        return main()
    except BrokenPipeError:
        raise
    except (AutocolorError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            raise  # of the command's output
        _say(f"{name}: error: {printable(one_line(error))}")
        return exit_status(error)


def _drop_what_cannot_be_written() -> None:
    """Let nothing be left in the streams that Python would try to write when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(nowhere, stream.fileno())


def printable(text: object) -> str:
    """Return a text, such as a path, with escapes for what would move the cursor or begin a line."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in str(text)
    )


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _reader_is_gone() -> bool:
    """Return whether an output is the end of a pipe that nobody reads."""
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
