"""Routes of the web page: uploads, previews that answer at once, jobs that take longer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

import autocolor
from autocolor.control.hints import RADIUS
from autocolor.core.errors import InputError
from autocolor.core.variants import VARIANTS
from autocolor.histograms.decode import looks_of
from autocolor.runtime.model_folder import Manifest
from autocolor.web.controls import (
    LARGEST_LEAN,
    LARGEST_RADIUS,
    LARGEST_STRENGTH,
    MOST_HINTS,
    MOST_VARIATIONS,
    Controls,
    number,
    parse_controls,
)
from autocolor.web.forms import read_form
from autocolor.web.jobs import BusyError, Job, JobError, RenderPool, WorkerDiedError
from autocolor.web.messages import Request as WorkerRequest
from autocolor.web.metrics import Metrics
from autocolor.web.openapi import DOWNLOAD_SUFFIXES, OPENED, Endpoint, describe
from autocolor.web.patience import BodyDeadline
from autocolor.web.render import FINE_PIXELS, QUICK_PIXELS
from autocolor.web.security import LocalOnly
from autocolor.web.storage import TooLargeError, Upload, Uploads, safe_name

STATIC = Path(__file__).with_name("static")

_LARGEST_BODY = 64 * 1024  # of JSON


@dataclass(frozen=True)
class Limits:
    """What may be uploaded."""

    megabytes: float = 200.0
    megapixels: float = 64.0

    @property
    def bytes(self) -> int:
        """Largest file."""
        return int(self.megabytes * 1e6)

    @property
    def pixels(self) -> int:
        """Largest photo."""
        return int(self.megapixels * 1e6)


class Service:
    """The answers to requests."""

    def __init__(
        self, pool: RenderPool, uploads: Uploads, manifest: Manifest, limits: Limits
    ) -> None:
        self._pool = pool
        self._uploads = uploads
        self._manifest = manifest
        self._limits = limits
        self._receiving = 0
        self._archives: dict[str, dict[str, Path]] = {}
        self.metrics = Metrics(pool)

    @property
    def endpoints(self) -> list[Endpoint]:
        """What is answered under ``/api``."""
        return [
            ("POST", "/colorize", self.colorize),
            ("GET", "/info", self.info),
            ("POST", "/photos", self.upload),
            ("DELETE", "/photos/{photo}", self.forget),
            ("POST", "/photos/{photo}/open", self.open),
            ("POST", "/photos/{photo}/preview", self.preview),
            ("POST", "/photos/{photo}/variations", self.variations),
            ("GET", "/photos/{photo}/colors", self.colors),
            ("GET", "/photos/{photo}/{picture}", self.picture),
            ("POST", "/photos/{photo}/download", self.download),
            ("GET", "/jobs/{job}", self.job),
            ("DELETE", "/jobs/{job}", self.cancel),
            ("GET", "/jobs/{job}/file", self.file),
            ("POST", "/zip", self.pack),
            ("GET", "/zip/{archive}", self.zip),
        ]

    def routes(self) -> list[BaseRoute]:
        """Return all routes but those of the page."""
        document = describe(self.endpoints)
        described = [
            Route(path, answer, methods=[method]) for method, path, answer in self.endpoints
        ]

        async def openapi(request: Request) -> Response:
            return JSONResponse(document)

        async def metrics(request: Request) -> Response:
            return self.metrics.answer()

        return [
            Mount("/api", routes=[Route("/openapi.json", openapi), *described]),
            Route("/health", self.health),
            Route("/metrics", metrics),
        ]

    async def health(self, request: Request) -> Response:
        """Say whether all workers are there, for what watches the server."""
        ready, size = self._pool.ready, self._pool.size
        content = {"status": "ok" if ready == size else "starting", "workers": ready, "of": size}
        return JSONResponse(content, 200 if ready == size else 503, headers=_PRIVATE)

    async def colorize(self, request: Request) -> Response:
        """Colorize a photo at full resolution: one request, one picture; nothing is kept."""
        upload, fields = await self._received(request)
        try:
            try:
                controls = json.loads(fields.get("controls", "{}"))
            except (ValueError, RecursionError):
                raise HTTPException(400, "controls: expected JSON") from None
            output = self._output(upload, fields.get("suffix", ".png"))
            asked = self._controlled(upload, "download", {"controls": controls}, output)
            job = self._pool.submit(asked)
            upload.jobs[job.id] = job
            await job.wait()
            path = _result(job)
        except BaseException:
            self._remove(upload)
            raise
        forget = BackgroundTask(self._remove, upload)
        name = _result_name(upload, path)
        return FileResponse(path, filename=name, headers=_PRIVATE, background=forget)

    async def info(self, request: Request) -> Response:
        """Say what this server can do."""
        variant = self._manifest.variant
        content = {
            "version": autocolor.__version__,
            "model": self._manifest.name,
            "histograms": VARIANTS[variant].is_histogram,
            "looks": looks_of(variant),
            "strength": self._manifest.strength,
            "megabytes": self._limits.megabytes,
            "megapixels": self._limits.megapixels,
            "largest_strength": LARGEST_STRENGTH,
            "largest_lean": LARGEST_LEAN,
            "most_hints": MOST_HINTS,
            "hint_radius": RADIUS,
            "largest_radius": LARGEST_RADIUS,
            "quick_pixels": QUICK_PIXELS,
            "crashes": self._pool.crashes,
        }
        return JSONResponse(content)

    async def upload(self, request: Request) -> Response:
        """Take a photo: a file in a form, or the whole body."""
        upload, _ = await self._received(request)
        return JSONResponse({"photo": upload.stored.id, "name": upload.stored.name}, 201)

    async def _received(self, request: Request) -> tuple[Upload, dict[str, str]]:
        """Store the photo of a request, cut off where it is too large; and return other fields."""
        name = safe_name(request.query_params.get("name", "photo"))
        fields: dict[str, str] = {}
        if self._receiving >= MOST_UPLOADS:
            await _discard(request, self._limits.bytes)
            text = f"{name}: {MOST_UPLOADS} photos are being sent already; try again"
            raise HTTPException(503, text, {**_CLOSE, "Retry-After": "1"})
        self._receiving += 1
        try:
            if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
                form = await read_form(request, self._limits.bytes)
                async with contextlib.aclosing(form):
                    fields = form.fields
                    name = safe_name(form.file.filename or name)
                    upload = await self._uploads.add(name, form.chunks())
            else:
                upload = await self._uploads.add(name, request.stream())
        except TooLargeError as error:
            # Browsers show no answer to what they could not send; so some more is read, not kept.
            await _discard(request, self._limits.bytes)
            raise HTTPException(413, str(error), _CLOSE) from None
        except ClientDisconnect:
            raise HTTPException(400, f"{name}: the client went away") from None
        except OSError as error:
            await _discard(request, self._limits.bytes)
            raise HTTPException(507, _not_stored(name, error), _CLOSE) from None
        finally:
            self._receiving -= 1
        for old in self._uploads.superfluous():
            self._remove(old)
        return upload, fields

    async def forget(self, request: Request) -> Response:
        """Delete a photo, its jobs and results."""
        upload = self._upload(request.path_params["photo"])
        for job in upload.jobs.values():
            self._pool.cancel(job)
        self._remove(upload)
        return Response(status_code=204)

    async def open(self, request: Request) -> Response:
        """Queue the network's run over a photo."""
        upload = self._upload(request.path_params["photo"])
        return self._queued(upload, WorkerRequest("", "open", upload.stored))

    async def picture(self, request: Request) -> Response:
        """Return the photo without colour, as it was, or the map of its uncertainty."""
        kind = request.path_params["picture"]
        upload = self._upload(request.path_params["photo"])
        if kind not in ("grey", "original", "uncertainty"):
            raise HTTPException(404, f"there is no {kind[:40]!r} of a photo")
        if kind == "uncertainty" and not VARIANTS[self._manifest.variant].is_histogram:
            raise HTTPException(400, "this model predicts colours and no uncertainty")
        return _jpeg(*await self._quick(WorkerRequest("", kind, upload.stored)))

    async def preview(self, request: Request) -> Response:
        """Return the colorization at the size of a screen, at once."""
        content = await _json(request)
        pixels = int(number(content, "pixels", 1, FINE_PIXELS))
        upload = self._upload(request.path_params["photo"])
        asked = self._controlled(upload, "preview", content, {"pixels": pixels})
        return _jpeg(*await self._quick(asked))

    async def variations(self, request: Request) -> Response:
        """Return small diverse colorizations."""
        content = await _json(request)
        options = {
            "count": int(number(content, "count", 2, MOST_VARIATIONS)),
            "rotation": number(content, "rotation", 0, 1),
        }
        upload = self._upload(request.path_params["photo"])
        asked = self._controlled(upload, "variations", content, options)
        result, seconds = await self._quick(asked)
        return JSONResponse({"variations": result}, headers=_timing(seconds))

    async def colors(self, request: Request) -> Response:
        """Return the colours that the model thinks likely at a place."""
        place = {key: _query_number(request, key, 0, 1) for key in ("x", "y")}
        upload = self._upload(request.path_params["photo"])
        result, seconds = await self._quick(
            WorkerRequest("", "proposals", upload.stored, options=place)
        )
        return JSONResponse({"colors": result}, headers=_timing(seconds))

    async def download(self, request: Request) -> Response:
        """Queue a rendering at full resolution."""
        content = await _json(request)
        upload = self._upload(request.path_params["photo"])
        output = self._output(upload, content.get("suffix", ".png"))
        return self._queued(upload, self._controlled(upload, "download", content, output))

    async def job(self, request: Request) -> Response:
        """Say how far a job is."""
        _, job = self._job(request.path_params["job"])
        result = job.result and {key: job.result[key] for key in OPENED}
        content = {
            "state": job.state,
            "progress": round(job.progress, 3),
            "error": job.error,
            "result": result,
        }
        return JSONResponse(content)

    async def cancel(self, request: Request) -> Response:
        """Stop a job."""
        _, job = self._job(request.path_params["job"])
        self._pool.cancel(job)
        return Response(status_code=204)

    async def file(self, request: Request) -> Response:
        """Return the result of a download."""
        upload, job = self._job(request.path_params["job"])
        path = _result(job)
        return FileResponse(path, filename=_result_name(upload, path), headers=_PRIVATE)

    async def pack(self, request: Request) -> Response:
        """Take the jobs of downloads whose results are to come in one archive."""
        jobs = (await _json(request)).get("jobs")
        if not isinstance(jobs, list) or not jobs:
            raise HTTPException(400, "jobs: expected at least one, got none")
        names: dict[str, Path] = {}
        lost = 0
        for identity in jobs:
            try:
                upload, job = self._uploads.job(str(identity))
            except KeyError:
                lost += 1
                continue
            path = _result(job)
            name = _result_name(upload, path)
            stem, suffix = Path(name).stem, Path(name).suffix
            copy = 2
            while name in names:
                name = f"{stem}_{copy}{suffix}"
                copy += 1
            names[name] = path
        if lost:
            text = (
                f"{lost} of {len(jobs)} results are no longer on the server, which had no more room"
            )
            raise HTTPException(404, text)
        archive = secrets.token_urlsafe(16)
        self._archives[archive] = names
        while len(self._archives) > _MOST_ARCHIVES:
            del self._archives[next(iter(self._archives))]
        return JSONResponse({"archive": archive}, 201)

    async def zip(self, request: Request) -> Response:
        """Return the results of several downloads in one archive."""
        try:
            names = self._archives[request.path_params["archive"]]
        except KeyError:
            raise HTTPException(404, "this archive is no longer on the server") from None
        path = self._uploads.scratch(".zip")
        try:
            await asyncio.to_thread(_write_zip, path, names)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise HTTPException(507, _not_stored("colorized.zip", error)) from None
        return FileResponse(
            path,
            filename="colorized.zip",
            headers=_PRIVATE,
            background=BackgroundTask(path.unlink, missing_ok=True),
        )

    def _upload(self, identity: str) -> Upload:
        try:
            return self._uploads[identity]
        except KeyError:
            raise HTTPException(
                404, "this photo is no longer on the server; open it again"
            ) from None

    def _job(self, identity: str) -> tuple[Upload, Job]:
        try:
            return self._uploads.job(identity)
        except KeyError:
            raise HTTPException(404, "this job is no longer on the server") from None

    def _output(self, upload: Upload, suffix: Any) -> dict[str, Any]:
        if suffix not in DOWNLOAD_SUFFIXES:
            raise HTTPException(400, f"suffix: expected one of {', '.join(DOWNLOAD_SUFFIXES)}")
        return {"output": str(self._uploads.output(upload, suffix))}

    def _remove(self, upload: Upload) -> None:
        self._pool.forget(WorkerRequest("", "forget", upload.stored))
        self._uploads.remove(upload)

    def _controlled(
        self, upload: Upload, kind: str, content: dict[str, Any], options: dict[str, Any]
    ) -> WorkerRequest:
        """Return a request with controls, whose reference is a photo that is there."""
        controls: Controls = parse_controls(content.get("controls", {}))
        reference = None
        if controls.reference is not None:
            reference = self._upload(controls.reference).stored
        return WorkerRequest("", kind, upload.stored, controls, reference, options)

    def _queued(self, upload: Upload, asked: WorkerRequest) -> Response:
        job = self._pool.submit(asked)
        upload.jobs[job.id] = job
        return JSONResponse({"job": job.id}, 202)

    async def _quick(self, asked: WorkerRequest) -> tuple[Any, float]:
        """Return the result of a quick job and the seconds that it took here."""
        started = time.perf_counter()
        job = self._pool.submit(asked)
        return await job.wait(), time.perf_counter() - started


_PRIVATE = {"Cache-Control": "no-store"}
MOST_UPLOADS = 16
"""At once; one more is told to come again."""

_MOST_ARCHIVES = 16  # that may be fetched, the newest ones
_CLOSE = {"Connection": "close"}


def make_app(service: Service, names: Collection[str] = ()) -> Starlette:
    """Return the application: the page, and the service under ``/api``.

    It answers to ``localhost``, addresses and these host names.
    """
    return Starlette(
        routes=[*service.routes(), Mount("/", StaticFiles(directory=STATIC, html=True))],
        middleware=[
            Middleware(service.metrics.middleware),
            Middleware(LocalOnly, names=names),
            Middleware(BodyDeadline),
        ],
        exception_handlers={
            HTTPException: _http_error,
            InputError: _status(400),
            BusyError: _status(503),
            WorkerDiedError: _status(503),
            JobError: _status(422),
        },
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


def _status(code: int) -> Any:
    async def answer(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, code)

    return answer


async def _json(request: Request) -> dict[str, Any]:
    """Return the object that the body is, of a limited size."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            raise HTTPException(413, f"expected at most {_LARGEST_BODY:,} bytes of JSON")
    try:
        content = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise HTTPException(400, "expected JSON") from None
    if not isinstance(content, dict):
        raise HTTPException(400, "expected a JSON object")
    return content


def _query_number(request: Request, key: str, low: float, high: float) -> float:
    text = request.query_params.get(key)
    try:
        value: Any = None if text is None else float(text)
    except ValueError:
        value = text
    return number({key: value}, key, low, high)


async def _discard(request: Request, most_bytes: int) -> None:
    with contextlib.suppress(ClientDisconnect):
        async for chunk in request.stream():
            most_bytes -= len(chunk)
            if most_bytes < 0:
                return


def _not_stored(name: str, error: OSError) -> str:
    return f"{name}: cannot be stored on the server: {error.strerror or error}"


def _timing(seconds: float) -> dict[str, str]:
    """Return headers that browsers' tools show as the time on the server."""
    return {"Server-Timing": f"render;dur={seconds * 1e3:.1f}", **_PRIVATE}


def _jpeg(content: bytes, seconds: float) -> Response:
    return Response(content, media_type="image/jpeg", headers=_timing(seconds))


def _result(job: Job) -> Path:
    if job.request.kind != "download" or job.state != "done":
        raise HTTPException(409, f"this job has no file: it is {job.state}")
    return Path(job.result["output"])


def _result_name(upload: Upload, path: Path) -> str:
    return f"{Path(upload.stored.name).stem}_color{path.suffix}"


def _write_zip(archive: Path, names: dict[str, Path]) -> None:
    # Stored: the pictures are compressed already.
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
        for name, path in names.items():
            out.write(path, name)
