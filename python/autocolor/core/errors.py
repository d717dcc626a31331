"""The errors of the library: `except AutocolorError` catches whatever it raises on purpose.

A command line exits with 2 on an :class:`InputError`, a wrong argument, and with 1 on all others,
such as a file that cannot be read. A function raises an InputError on an argument that is not what its
docstring says, which is then not said again under Raises.
"""

from __future__ import annotations


class AutocolorError(Exception):
    """What the library cannot do, in one line; the base of all its errors."""


def exit_status(error: BaseException) -> int:
    """Return what a command exits with: 2 on an argument that is wrong, 1 on every other error."""
    return 2 if isinstance(error, InputError) else 1


class InputError(AutocolorError, ValueError):
    """An argument that is out of range, or that does not fit the others.

    Parameters
    ----------
    argument : str
        Its name.
    problem : str
        What was expected, and what it is.
    """

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(argument, problem)
        self.argument, self.problem = argument, problem

    def __str__(self) -> str:
        return f"{self.argument}: {self.problem}"
