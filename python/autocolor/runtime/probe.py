"""See in a process of its own whether Caffe can build a deploy net: it ends one that it cannot.

That takes half a second, so that a good verdict is kept in the cache, under a checksum of the net's
text and of the Caffe that built it.
"""

from __future__ import annotations

import hashlib
import resource
from contextlib import suppress
from pathlib import Path

from autocolor.core.downloads import default_cache
from autocolor.core.isolation import run_isolated
from autocolor.runtime.caffe_runtime import import_caffe, make_net

_MEMORY = 8 * 2**30  # the paper's network takes 0.6 GiB
_SECONDS = 120
_SIDES = (64, 96)


def check_net(prototxt: str) -> str | None:
    """Return why Caffe cannot use a net with an input ``data``, or None.

    The net is built, and reshaped to an input of another size, with 8 GiB of memory.
    """
    verdict = default_cache() / "nets" / f"{_checksum(prototxt)}.good"
    if verdict.exists():
        return None
    if failure := run_isolated(build_net, [prototxt], _SECONDS):
        return failure.reason
    with suppress(OSError):  # a cache that cannot be written costs the next start half a second
        verdict.parent.mkdir(parents=True, exist_ok=True)
        verdict.touch()
    return None


def _checksum(prototxt: str) -> str:
    """Name a net and the Caffe that would build it: its libraries, of which any build is another."""
    import_caffe()
    digest = hashlib.sha256(prototxt.encode())
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    names = {line.partition("/")[2] for line in maps.splitlines() if line.endswith(".so")}
    for library in sorted(Path("/", name) for name in names if "caffe" in Path(name).name):
        status = library.stat()
        digest.update(f"{library} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def build_net(prototxt: str) -> None:
    """In the child: build a net, and reshape it."""
    import_caffe()  # before the limit
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    memory = _MEMORY if most == resource.RLIM_INFINITY else min(_MEMORY, most)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, most))
    net = make_net(prototxt)
    if "data" in net.blobs:
        net.blobs["data"].reshape(1, 1, *_SIDES)
        net.reshape()
