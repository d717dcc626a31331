"""The process that holds the network for the web page; Caffe may end it without harm to the rest.

``python -m autocolor.web.worker DESCRIPTOR OPTIONS`` talks over the socket of that file descriptor,
which :class:`autocolor.web.jobs.Worker` made. Long jobs (opening a photo, rendering a file) look at
the socket between tiles: they stop when cancelled, and let quick ones (previews) go first.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections import OrderedDict, deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from autocolor.core.arrays import FloatArray
from autocolor.core.errors import AutocolorError
from autocolor.runtime.colorizer import Colorizer
from autocolor.web.messages import LONG_KINDS, Reply, Request, StoredPhoto, WorkerOptions
from autocolor.web.render import (
    OpenPhoto,
    grey,
    open_photo,
    preview,
    proposals,
    read_limited_reference,
    render_file,
    uncertainty,
    variations,
)

CACHE_BYTES = 256 * 2**20
"""Of opened photos, the least recently used of which are forgotten: about 25 large ones."""

_MOST_REFERENCES = 8


class _CancelledError(Exception):
    """The job that runs is not wanted any more."""


class _StopError(Exception):
    """The server says that it is over."""


class HangUpError(AutocolorError):
    """The server is gone."""


class WorkerLoop:
    """Answer requests, one after another, of photos of at most `largest_pixels`."""

    def __init__(
        self,
        connection: Connection,
        colorizer: Colorizer,
        largest_pixels: int,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._connection = connection
        self._colorizer = colorizer
        self._largest_pixels = largest_pixels
        self._cache_bytes = cache_bytes
        self._photos: OrderedDict[str, OpenPhoto] = OrderedDict()
        self._references: OrderedDict[str, FloatArray] = OrderedDict()
        self._waiting: deque[Request] = deque()
        self._running = ""
        self._told = 0.0

    def run(self) -> None:
        """Work until the server says None; a `HangUpError` if it ends without that."""
        self._send(Reply("ready"))
        with contextlib.suppress(_StopError):
            while True:
                while not self._waiting:
                    self._receive()
                self._answer(self._waiting.popleft())

    def _send(self, reply: Reply) -> None:
        try:
            self._connection.send(reply)
        except OSError:
            raise HangUpError from None

    def _receive(self) -> None:
        """Take one message: what need not be worked at is done here."""
        try:
            request = self._connection.recv()
        except (EOFError, OSError):
            raise HangUpError from None
        if request is None:
            raise _StopError
        if request.kind == "forget":
            self._photos.pop(request.photo.id, None)
            self._references.pop(request.photo.id, None)
        elif request.kind == "cancel":
            if request.job == self._running:
                raise _CancelledError
            for other in [other for other in self._waiting if other.job == request.job]:
                self._waiting.remove(other)
                self._send(Reply("cancelled", request.job))
        else:
            self._waiting.append(request)

    def _watch(self, done: float) -> None:
        """Between tiles of a long job: let quick ones go first, stop if cancelled."""
        while self._connection.poll():
            self._receive()
        for request in [item for item in self._waiting if item.kind not in LONG_KINDS]:
            self._waiting.remove(request)
            self._answer(request)
        if done - self._told >= 0.01:
            self._told = done
            self._send(Reply("progress", self._running, done))

    def _answer(self, request: Request) -> None:
        long = request.kind in LONG_KINDS
        if long:
            self._running, self._told = request.job, 0.0
        try:
            reply = Reply("done", request.job, self._result(request))
        except _CancelledError:
            reply = Reply("cancelled", request.job)
        except (AutocolorError, OSError, MemoryError) as error:
            reply = Reply("failed", request.job, _one_line(error, request))
        finally:
            if long:
                self._running = ""
        self._send(reply)

    def _result(self, request: Request) -> Any:
        photo = self._opened(request)
        if request.kind == "open":
            return photo.summary()
        reference = None
        if request.reference is not None:
            reference = self._read_reference(request.reference)
        options = request.options
        if request.kind == "preview":
            return preview(photo, request.controls, options["pixels"], reference)
        if request.kind == "variations":
            count, rotation = options["count"], options["rotation"]
            return variations(photo, request.controls, count, rotation, reference)
        if request.kind == "proposals":
            return proposals(photo, options["y"], options["x"])
        if request.kind == "uncertainty":
            return uncertainty(photo)
        if request.kind == "grey":
            return grey(photo)
        if request.kind == "original":
            return photo.colored or grey(photo)
        if request.kind != "download":
            raise ValueError(f"kind: got {request.kind!r}")
        path, output = Path(request.photo.path), Path(options["output"])
        render_file(photo, request.controls, reference, path, output, self._watch)
        return {"output": str(output), **photo.summary()}

    def _opened(self, request: Request) -> OpenPhoto:
        """Return a photo out of the cache, or open it anew."""
        stored = request.photo
        if stored.id not in self._photos:

            def progress(done: float) -> None:
                if request.kind in LONG_KINDS:  # others run while such a one waits
                    self._watch(done if request.kind == "open" else 0)

            self._photos[stored.id] = open_photo(
                self._colorizer, Path(stored.path), self._largest_pixels, progress
            )
        self._photos.move_to_end(stored.id)
        while len(self._photos) > 1 and self._used_bytes() > self._cache_bytes:
            self._photos.popitem(last=False)
        return self._photos[stored.id]

    def _used_bytes(self) -> int:
        return sum(photo.bytes for photo in self._photos.values())

    def _read_reference(self, stored: StoredPhoto) -> FloatArray:
        if stored.id not in self._references:
            reference = read_limited_reference(Path(stored.path), self._largest_pixels)
            self._references[stored.id] = reference
        self._references.move_to_end(stored.id)
        if len(self._references) > _MOST_REFERENCES:
            self._references.popitem(last=False)
        return self._references[stored.id]


def _one_line(error: Exception, request: Request) -> str:
    """Return a message that names the photo as its owner does."""
    if isinstance(error, MemoryError):
        return f"{request.photo.name}: too large for this machine's memory"
    text = " ".join(str(error).split())
    for stored in (request.photo, request.reference):
        if stored is not None:
            text = text.replace(stored.path, stored.name)
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker; return its exit status."""
    descriptor, text = sys.argv[1:] if argv is None else argv
    content = json.loads(text)
    options = WorkerOptions(**{**content, "cores": tuple(content["cores"])})
    # Ctrl-C reaches the whole group of processes; the server says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if options.cores:
        os.sched_setaffinity(0, options.cores)
    connection = Connection(int(descriptor))
    try:
        colorizer = Colorizer(options.model, options.device, backend=options.backend)
    except (AutocolorError, OSError) as error:
        connection.send(Reply("failed", value=" ".join(str(error).split())))
        return 1
    try:
        WorkerLoop(connection, colorizer, options.largest_pixels).run()
    except HangUpError:
        # It was killed, then, and could not clean up.
        shutil.rmtree(options.folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
