"""What the server of the web page and its workers say to each other."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from autocolor.web.controls import Controls


class StoredPhoto(NamedTuple):
    """Where an upload lies, and its name for messages."""

    id: str
    path: str
    name: str


class Request(NamedTuple):
    """A job for the worker."""

    job: str
    #: ``open`` or ``download``, which take long, or ``preview``, ``variations``, ``proposals``,
    #: ``uncertainty``, ``grey`` or ``original``; or ``cancel`` of the job, or ``forget`` the photo
    kind: str
    photo: StoredPhoto
    controls: Controls = Controls()
    reference: StoredPhoto | None = None
    #: Of the kind: ``pixels``; ``count`` and ``rotation``; ``x`` and ``y``; ``output``
    options: dict[str, Any] = {}  # noqa: RUF012 (never changed)


class Reply(NamedTuple):
    """What the worker says: ``ready``, ``progress``, ``done``, ``failed`` or ``cancelled``."""

    kind: str
    job: str = ""
    value: Any = None


LONG_KINDS = ("open", "download")


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker runs."""

    model: str  #: Model folder
    #: As of :class:`autocolor.runtime.colorizer.Colorizer`
    device: str
    backend: str
    folder: str  #: Of the uploads, which is removed if the server dies
    cores: tuple[int, ...]  #: That the worker may use; empty for all
    largest_pixels: int

    def to_json(self) -> str:
        """Return a text for the command line."""
        return json.dumps(asdict(self))
