"""Every command ends in one line when it is stopped, or when nobody reads its output any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autocolor.core.programs import printable
from helpers.programs import ROOT, TOOLS, run

# Ctrl-C at the first moment that every tool goes through: it reads its arguments.
INTERRUPTED = """
import argparse, os, signal
def interrupted(*arguments, **options):
    os.kill(os.getpid(), signal.SIGINT)
argparse.ArgumentParser.parse_args = interrupted
"""
COMMANDS = [*([tool] for tool in TOOLS), ["-m", "autocolor.cli"], ["-m", "autocolor.cli", "serve"]]
IDS = [command[-1] for command in COMMANDS]
# Those that begin by looking what an earlier run has left.
RESUMING = ("data_prep/build_lmdb.py", "tools/evaluate.py", "tools/paper/random_subsets.py")


def name_of(command: list[str]) -> str:
    return "autocolor" if command[0] == "-m" else Path(command[0]).stem


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_ctrl_c_ends_every_command_in_one_line(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTED)
    stopped = run(
        sys.executable, *command, status=130, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    resumes = "; the same command goes on from here" if command[0] in RESUMING else ""
    assert stopped.stdout + stopped.stderr == f"{name_of(command)}: stopped{resumes}\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_a_closed_pipe_ends_every_command_in_one_line(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, *command, "--help"],
            cwd=ROOT,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    expected = f"{name_of(command)}: stopped, as its output is not read any more\n"
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, expected)


PROGRAM = """
import sys
from autocolor.core.programs import run_program
def main():
    {body}
run_program(main, "tool")
"""


@pytest.mark.parametrize("closed", [["stdout"], ["stderr"], ["stdout", "stderr"]])
def test_an_error_that_a_command_makes_of_a_closed_pipe_is_none_of_a_file(
    closed: list[str],
) -> None:
    body = (
        "try:\n        print('x', flush=True); print('x', file=sys.stderr, flush=True)\n    "
        "except OSError as error:\n        return 1"
    )
    reading, writing = os.pipe()
    os.close(reading)
    streams = {
        name: writing if name in closed else subprocess.PIPE for name in ("stdout", "stderr")
    }
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)], check=False, **streams
    )
    os.close(writing)
    assert ended.returncode == 141
    assert b"Traceback" not in (ended.stderr or b"") and b"ignored" not in (ended.stderr or b"")


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("return 3", 3, ""),
        ("sys.exit(2)", 2, ""),
        ("raise BrokenPipeError('x')", 1, "BrokenPipe"),
        ("return int('x')", 1, "in main\n"),  # a fault is shown with its place
    ],
)
def test_other_ends_stay_as_they_are(body: str, status: int, error: str) -> None:
    ended = run(sys.executable, "-c", PROGRAM.format(body=body), status=status)
    assert error in ended.stderr and bool(error) == bool(ended.stderr)


@pytest.mark.parametrize("flush", ["", "; sys.stdout.flush()"])
def test_a_full_disk_under_the_output_is_one_line(flush: str) -> None:
    command = [sys.executable, "-c", PROGRAM.format(body=f"print('x'){flush}; return 0")]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    error = b"tool: error: its output cannot be written: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, error)


def test_closed_streams_end_no_command() -> None:
    body = "print('x'); print('x', file=sys.stderr); sys.stdout.write('x'); return 0"
    for closed in ("1>&-", "2>&-", "1>&- 2>&-"):
        run("sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, PROGRAM.format(body=body))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_names_that_the_terminal_cannot_show_are_escaped(encoding: str) -> None:
    body = r"print('\udce4\u4e2d'); return 0"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-c", PROGRAM.format(body=body)]
    shown = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    letter = "中".encode() if encoding == "utf-8" else rb"\u4e2d"
    assert shown == rb"\udce4" + letter + b"\n"


def test_printable() -> None:
    assert printable(Path("a\nb\x1b[2J ä中\udcff.png")) == r"a\nb\x1b[2J ä中\udcff.png"
