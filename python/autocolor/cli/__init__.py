"""The ``autocolor`` command: colorize photos and videos, or serve the web page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from autocolor.core.programs import run_program


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    from autocolor.cli.command import main

    return main(argv)


def program() -> NoReturn:
    """Run the command as a program, which can be stopped while its libraries are still loaded."""
    run_program(main, "autocolor")
