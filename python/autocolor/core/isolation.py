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
import tempfile
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
"""What calls a function in a child: `run_isolated` or `run_forked`."""


def run_isolated(
    function: Callable[..., object], args: Sequence[Any], seconds: float = 600
) -> Failure | None:
    """Call a function in a new process; return how it failed, or None.

    Parameters
    ----------
    function : callable
        Of a module, so that the child can import it. What it returns is dropped.
    args : sequence
        Its arguments, of types that JSON has.
    seconds : float
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
                status = _call(function, args)
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        for file in (output, errors):
            file.seek(0)
        return parse_failure(os.waitstatus_to_exitcode(status), output.read(), errors.read())


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


def _call(function: Callable[..., object], args: Sequence[Any]) -> int:
    """In the child: call the function; the text of an error is the last line on stderr."""
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
    sys.exit(_call(called, request["args"]))
