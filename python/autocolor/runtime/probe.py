"""Build a deploy net, to see whether Caffe can: ``python -m autocolor.runtime.probe [WEIGHTS] < PROTOTXT``.

Caffe ends the process on a net that it cannot build, so this is one of its own; see
:func:`refusal`.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from autocolor.runtime.caffe_runtime import import_caffe

_MEMORY = 8 * 2**30  # the paper's network takes 0.6 GiB
_SECONDS = 120
_FATAL = re.compile(r"^F\d{4,8} [^\]]*\] (?:Check failed: )?(.*)")
_SIDES = (64, 96)
_BUILT = "built"


class Refusal(NamedTuple):
    """Why Caffe ends the process, in its words, and whether that is because of the weights."""

    reason: str
    of_weights: bool


def refusal(prototxt: str, weights: Path | None) -> Refusal | None:
    """Return why Caffe cannot use a net with an input ``data`` and its weights, if any, or None.

    The net is built, reshaped to an input of another size and given the weights in another process,
    with 8 GiB of memory. The last answers are remembered.
    """
    if weights is None:
        return _refusal(prototxt, "", 0, 0)
    status = weights.stat()
    return _refusal(prototxt, str(weights.resolve()), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _refusal(prototxt: str, weights: str, size: int, changed: int) -> Refusal | None:
    try:
        process = subprocess.run(
            [sys.executable, "-m", "autocolor.runtime.probe", *([weights] if weights else [])],
            input=prototxt, capture_output=True, text=True, errors="replace", check=False,
            timeout=_SECONDS, env={**os.environ, "GLOG_minloglevel": "2", "GLOG_logtostderr": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Refusal(f"it is not built within {_SECONDS} seconds", of_weights=False)
    return _judge(process.returncode, process.stdout, process.stderr)


def forked_refusal(prototxt: str, weights: Path | None) -> Refusal | None:
    """Return what `refusal` does, from a fork of this process: many times as fast.

    For fuzzing: Caffe must not have used threads here, which a fork has not.
    """
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.dup2(said.fileno(), 1)
                os.dup2(errors.fileno(), 2)
                resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
                _try(prototxt, [str(weights)] if weights else [])
                status = 0
            except BaseException as error:
                os.write(2, f"{error}\n".encode())
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        for file in (said, errors):
            file.seek(0)
        return _judge(os.waitstatus_to_exitcode(status), said.read(), errors.read())


def _judge(status: int, said: str, errors: str) -> Refusal | None:
    if status == 0:
        return None
    lines = errors.strip().splitlines() or [f"exit status {status}"]
    fatal = [match.group(1) for line in lines if (match := _FATAL.match(line))]
    return Refusal(fatal[0] if fatal else lines[-1], of_weights=_BUILT in said)


def main(arguments: Sequence[str]) -> int:
    """Build the net on stdin; Caffe ends the process if it cannot."""
    _try(sys.stdin.read(), arguments)
    return 0


def _try(prototxt: str, weights: Sequence[str]) -> None:
    caffe = import_caffe()
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    memory = _MEMORY if most == resource.RLIM_INFINITY else min(_MEMORY, most)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".prototxt") as file:
        file.write(prototxt)
        file.flush()
        net = caffe.Net(file.name, caffe.TEST)
    if "data" in net.blobs:
        net.blobs["data"].reshape(1, 1, *_SIDES)
        net.reshape()
    os.write(1, _BUILT.encode())
    for path in weights:
        net.copy_from(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
