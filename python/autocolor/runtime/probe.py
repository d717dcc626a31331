"""See in a process of its own whether Caffe can build a deploy net: it ends one that it cannot."""

from __future__ import annotations

import resource
import tempfile
from functools import lru_cache

from autocolor.core.isolation import run_isolated
from autocolor.runtime.caffe_runtime import import_caffe

_MEMORY = 8 * 2**30  # the paper's network takes 0.6 GiB
_SECONDS = 120
_SIDES = (64, 96)


@lru_cache(maxsize=8)
def check_net(prototxt: str) -> str | None:
    """Return why Caffe cannot use a net with an input ``data``, or None.

    The net is built, and reshaped to an input of another size, with 8 GiB of memory. The last
    answers are remembered.
    """
    failure = run_isolated(build_net, [prototxt], _SECONDS)
    return failure and failure.reason


def build_net(prototxt: str) -> None:
    """In the child: build a net, and reshape it."""
    caffe = import_caffe()
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    memory = _MEMORY if most == resource.RLIM_INFINITY else min(_MEMORY, most)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, most))
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".prototxt") as file:
        file.write(prototxt)
        file.flush()
        net = caffe.Net(file.name, caffe.TEST)
    if "data" in net.blobs:
        net.blobs["data"].reshape(1, 1, *_SIDES)
        net.reshape()
