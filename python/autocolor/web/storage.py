"""Uploads of the web page: in a private folder that is gone when the server is."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from autocolor.core.errors import AutocolorError
from autocolor.web.jobs import Job
from autocolor.web.messages import StoredPhoto

MOST_STORED_BYTES = 4 * 2**30
"""Unless half of what is free is more: a batch of some hundred photos and its results."""

_LONGEST_NAME = 120


class TooLargeError(AutocolorError):
    """An upload above the limit; one line."""


@dataclass
class Upload:
    """A photo that was uploaded, and its long jobs."""

    stored: StoredPhoto
    bytes: int
    jobs: dict[str, Job] = field(default_factory=dict)  #: By their ids
    #: When it last was, in seconds of the monotonic clock
    used: float = field(default_factory=time.monotonic)

    @property
    def busy(self) -> bool:
        """Whether a job of it is not done."""
        return any(not job.finished.is_set() for job in self.jobs.values())


class Uploads:
    """Photos in a folder that is private to this user, of limited size.

    A photo has at most `largest_bytes`, all photos and results `most_bytes`: the oldest idle photos make
    room.
    """

    def __init__(
        self, folder: Path, largest_bytes: int, most_bytes: int = MOST_STORED_BYTES
    ) -> None:
        self._folder = folder
        self._largest_bytes = largest_bytes
        self._most_bytes = most_bytes
        self._uploads: dict[str, Upload] = {}

    def __getitem__(self, identity: str) -> Upload:
        """Return an upload, which counts as used now; `KeyError` if it is not there."""
        upload = self._uploads[identity]
        upload.used = time.monotonic()
        return upload

    def job(self, identity: str) -> tuple[Upload, Job]:
        """Return a long job and its photo; `KeyError` if it is not there."""
        for upload in self._uploads.values():
            if identity in upload.jobs:
                upload.used = time.monotonic()
                return upload, upload.jobs[identity]
        raise KeyError(identity)

    def output(self, upload: Upload, suffix: str) -> Path:
        """Return a new path for a result."""
        return self.scratch(suffix, upload.stored.id)

    def scratch(self, suffix: str, start: str = "") -> Path:
        """Return a new path in the folder."""
        return self._folder / f"{start}.{secrets.token_hex(8)}{suffix}"

    async def add(self, name: str, chunks: AsyncIterator[bytes]) -> Upload:
        """Store a photo as it comes in; a `TooLargeError` as soon as there is more than the limit.

        The name of the user's file is for messages and downloads, and never used as a path here.
        """
        identity = secrets.token_urlsafe(16)
        path = self._folder / identity
        size = 0
        try:
            with path.open("xb") as stream:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > self._largest_bytes:
                        raise TooLargeError(
                            f"{safe_name(name)}: expected at most "
                            f"{self._largest_bytes / 1e6:g} MB, got more"
                        )
                    stream.write(chunk)
        except BaseException:  # also a client that goes away
            path.unlink(missing_ok=True)
            raise
        upload = Upload(StoredPhoto(identity, str(path), safe_name(name)), size)
        self._uploads[identity] = upload
        return upload

    def superfluous(self) -> list[Upload]:
        """Return the oldest idle photos that have to go for the rest to fit."""
        stored = {path: path.stat().st_size for path in self._folder.iterdir()}
        excess = sum(stored.values()) - self._most_bytes
        old = []
        for upload in sorted(self._uploads.values(), key=lambda item: item.used)[:-1]:
            if excess <= 0:
                break
            if not upload.busy:
                old.append(upload)
                excess -= sum(
                    size for path, size in stored.items() if path.name.startswith(upload.stored.id)
                )
        return old

    def remove(self, upload: Upload) -> None:
        """Delete a photo and its results."""
        self._uploads.pop(upload.stored.id, None)
        for path in self._folder.glob(f"{upload.stored.id}*"):
            path.unlink(missing_ok=True)


def safe_name(name: str) -> str:
    """Return the last part of a file name, printable and not too long."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    printable = "".join(letter for letter in last if letter.isprintable()).strip()
    return printable[-_LONGEST_NAME:] or "photo"
