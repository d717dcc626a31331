"""Call a function in a process of its own, where it may end the process: Caffe and liblmdb do.

The child is ``python -m autocolor.core.isolation``, told on stdin what to call.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from autocolor.core.files import one_line

# A fatal line of Caffe's log, glog: "F1123 21:00:00.123456  7 net.cpp:1] Check failed: reason".
_FATAL = re.compile(r"^F\d{4,8} [^\]]*\] (?:Check failed: )?(.*)", re.MULTILINE)


class Failure(NamedTuple):
    """How a child failed: the reason in one line, and all that it wrote to stdout and stderr."""

    reason: str
    output: str
    errors: str


Runner: TypeAlias = Callable[..., Failure | None]
"""What calls a function in a child: `run_isolated`, or for fuzzing a fork."""


def run_isolated(
    function: Callable[..., object], args: Sequence[Any], seconds: float | None = None
) -> Failure | None:
    """Call a function in a new process; return how it failed, or None.

    Parameters
    ----------
    function : callable
        Of a module, so that the child can import it. What it returns is dropped.
    args : sequence
        Its arguments, of types that JSON has.
    seconds : float, optional
        How long it may take.
    """
    call = {"module": function.__module__, "function": function.__qualname__, "args": list(args)}
    try:
        process = subprocess.run(
            [sys.executable, "-m", "autocolor.core.isolation"],
            input=json.dumps(call),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
            env={**os.environ, "GLOG_minloglevel": "2", "GLOG_logtostderr": "1"},
        )
    except subprocess.TimeoutExpired:
        return Failure(f"not done within {seconds:g} seconds", "", "")
    return parse_failure(process.returncode, process.stdout, process.stderr)


def parse_failure(status: int, output: str, errors: str) -> Failure | None:
    """Return how a process failed, given its exit status and what it wrote; None if it did not.

    The reason is Caffe's fatal one, else the last line of the errors, else the signal or status.
    """
    if status == 0:
        return None
    if fatal := _FATAL.search(errors):
        reason = fatal.group(1)
    elif lines := errors.strip().splitlines():
        reason = lines[-1]
    else:
        reason = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return Failure(reason, output, errors)


def call_in_child(function: Callable[..., object], args: Sequence[Any]) -> int:
    """Call the function and return the exit status; an error's text is the last line on stderr."""
    limit = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, limit))
    try:
        function(*args)
        return 0
    except BaseException as error:
        os.write(2, f"{one_line(error)}\n".encode(errors="replace"))
        return 1
    finally:
        sys.stdout.flush()


if __name__ == "__main__":
    request = json.load(sys.stdin)
    called = getattr(importlib.import_module(request["module"]), request["function"])
    sys.exit(call_in_child(called, request["args"]))
