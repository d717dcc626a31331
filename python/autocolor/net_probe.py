"""Build a deploy net, to see whether Caffe can: ``python -m autocolor.net_probe WEIGHTS < PROTOTXT``.

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

from autocolor.caffe_runtime import import_caffe

_MEMORY = 8 * 2**30  # the paper's network takes 0.6 GiB
_SECONDS = 120
_FATAL = re.compile(r"^F\d{4,8} [^\]]*\] (?:Check failed: )?(.*)")
_SIDES = (64, 96)


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
            [sys.executable, "-m", "autocolor.net_probe", *([weights] if weights else [])],
            input=prototxt, capture_output=True, text=True, errors="replace", check=False,
            timeout=_SECONDS, env={**os.environ, "GLOG_minloglevel": "2", "GLOG_logtostderr": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Refusal(f"it is not built within {_SECONDS} seconds", of_weights=False)
    if process.returncode == 0:
        return None
    lines = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
    fatal = [match.group(1) for line in lines if (match := _FATAL.match(line))]
    return Refusal(fatal[0] if fatal else lines[-1], of_weights="built" in process.stdout)


def main(arguments: Sequence[str]) -> int:
    """Build the net on stdin; Caffe ends the process if it cannot."""
    caffe = import_caffe()
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    memory = _MEMORY if most == resource.RLIM_INFINITY else min(_MEMORY, most)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".prototxt") as file:
        file.write(sys.stdin.read())
        file.flush()
        net = caffe.Net(file.name, caffe.TEST)
    if "data" in net.blobs:
        net.blobs["data"].reshape(1, 1, *_SIDES)
        net.reshape()
    print("built", flush=True)
    for weights in arguments:
        net.copy_from(weights)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
