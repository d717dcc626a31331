"""How commands begin and end: types of options, and errors in one line with their status."""

import argparse
import errno

import pytest

from autocolor.core.errors import AutocolorError, InputError
from autocolor.core.programs import at_least, command_parser, told


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("side", "expected at least 1, got 0"), 2, "side: expected at least 1, got 0"),
        (AutocolorError("a.jpg:\nbroken"), 1, "a.jpg: broken"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a"), 1, "[Errno 2] No such file: 'a'"),
        (OSError(errno.ENOSPC, "full", "a"), 1, "[Errno 28] full: 'a'"),
        (AutocolorError("a\x1b[1m.jpg"), 1, "a\\x1b[1m.jpg"),
    ],
)
def test_errors_are_told_in_a_line(error, status, line, capsys):
    def main():
        raise error

    assert told(main, "tool") == status
    assert capsys.readouterr().err == f"tool: error: {line}\n"


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(),
        OSError(errno.ENOSPC, "full"),
        KeyboardInterrupt(),
        KeyError("bug"),
        ValueError("of a library"),
    ],
)
def test_what_is_no_error_of_the_arguments_or_files_is_raised(error):
    def main():
        raise error

    with pytest.raises(type(error)):
        told(main, "tool")


def test_a_status_is_handed_on():
    assert told(lambda: 3, "tool") == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1", "argument --count: expected at least 2, got 1"),
        ("1.5", "argument --count: invalid int value: '1.5'"),
    ],
)
def test_integers_have_a_least_value(text, message, capsys):
    parser = command_parser("What it does.", "lines\n  as they are")
    parser.add_argument("--count", type=at_least(2))
    assert parser.parse_args(["--count", "2"]) == argparse.Namespace(count=2)
    assert "lines\n  as they are" in parser.format_help()
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(["--count", text])
    assert stopped.value.code == 2 and message in capsys.readouterr().err
