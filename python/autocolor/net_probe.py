"""Build a deploy net, to see whether Caffe can: ``python -m autocolor.net_probe < PROTOTXT``.

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
from functools import lru_cache

from autocolor.caffe_runtime import import_caffe

_MEMORY = 8 * 2**30  # the paper's network takes 0.6 GiB
_SECONDS = 120
_FATAL = re.compile(r"^F\d{4,8} [^\]]*\] (?:Check failed: )?(.*)")
_SIDES = (64, 96)


@lru_cache(maxsize=8)
def refusal(prototxt: str) -> str | None:
    """Return why Caffe cannot build a net with an input ``data``, in Caffe's words, or None.

    The net is built and reshaped to an input of another size, in another process, with 8 GiB of
    memory. The last answers are remembered.
    """
    try:
        process = subprocess.run(
            [sys.executable, "-m", "autocolor.net_probe"],
            input=prototxt, capture_output=True, text=True, errors="replace", check=False,
            timeout=_SECONDS, env={**os.environ, "GLOG_minloglevel": "2", "GLOG_logtostderr": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it is not built within {_SECONDS} seconds"
    if process.returncode == 0:
        return None
    lines = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
    fatal = [match.group(1) for line in lines if (match := _FATAL.match(line))]
    return fatal[0] if fatal else lines[-1]


def main() -> int:
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
