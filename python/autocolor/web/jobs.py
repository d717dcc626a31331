"""Jobs of the web page: a queue before each worker process, which is started again if it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from autocolor.core.errors import AutocolorError, InputError
from autocolor.web.messages import LONG_KINDS, Reply, Request, WorkerOptions

MOST_LONG_JOBS = 2000
"""Waiting for one worker."""

MOST_QUICK_JOBS = 16

KILL_SECONDS = 10.0
"""After which a worker that does not react to a cancel is killed."""

START_SECONDS = 120.0


class BusyError(AutocolorError):
    """Too much is waiting."""


class RenderError(AutocolorError):
    """A worker that cannot be started; one line."""


class JobError(AutocolorError):
    """A job that failed; one line for the user."""


class WorkerDiedError(JobError):
    """A job whose worker died."""


@dataclass(eq=False)
class Job:
    """Work for a worker."""

    request: Request
    state: str = "queued"  #: {"queued", "running", "done", "failed", "cancelled"}
    progress: float = 0.0  #: In [0, 1]
    result: Any = None  #: Of the worker, when it is done
    error: str = ""  #: One line, when it has failed
    died: bool = False  #: Whether it failed because the worker process died
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    on_finish: Callable[[Job], None] = lambda job: None  #: Told when it is over

    @property
    def id(self) -> str:
        """Id of the request."""
        return self.request.job

    def finish(
        self, state: str, *, result: Any = None, error: str = "", died: bool = False
    ) -> None:
        """Enter a state that is final, if none was entered before."""
        if self.finished.is_set():
            return
        self.state = state
        self.result, self.error, self.died = result, error, died
        if state == "done":
            self.progress = 1.0
        self.finished.set()
        self.on_finish(self)

    async def wait(self) -> Any:
        """Return the result, or raise a `JobError` if there is none."""
        await self.finished.wait()
        if self.state == "done":
            return self.result
        if self.died:
            raise WorkerDiedError(self.error)
        raise JobError(self.error or "cancelled")


class Worker:
    """A worker process, its queue of long jobs and the quick ones that it has been given."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._ready: asyncio.Future[None] | None = None
        self._given: dict[str, Job] = {}
        self._queue: deque[Job] = deque()
        self._closing = False
        self.crashes = 0

    @property
    def ready(self) -> bool:
        """Whether it has loaded the model and is there."""
        ready = self._ready
        return (
            self._connection is not None
            and ready is not None
            and ready.done()
            and not (ready.cancelled() or ready.exception())
        )

    @property
    def load(self) -> int:
        """Number of jobs that are not done."""
        return len(self._given) + len(self._queue)

    async def start(self) -> None:
        """Start the process and wait until it has loaded the model; a `RenderError` if it cannot."""
        self._launch()
        assert self._ready is not None
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), START_SECONDS)
        except TimeoutError:
            raise RenderError(f"the model is not loaded after {START_SECONDS:g} s") from None

    def _launch(self) -> None:
        ours, theirs = Pipe()
        environment = dict(os.environ)
        if self._options.cores:
            for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
                environment[name] = str(len(self._options.cores))
        command = [sys.executable, "-m", "autocolor.web.worker", str(theirs.fileno())]
        self._process = subprocess.Popen(
            [*command, self._options.to_json()],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment,
        )
        theirs.close()
        self._connection = ours
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        # Nobody need be waiting for it.
        self._ready.add_done_callback(lambda future: future.cancelled() or future.exception())
        loop.add_reader(ours.fileno(), self._readable)

    def submit(self, job: Job) -> None:
        """Queue a long job, or hand a quick one over at once; a `BusyError` if too many are waiting."""
        if self._connection is None and not self._closing:
            self._launch()  # it had died before it was ready; perhaps the reason is gone
        if job.request.kind in LONG_KINDS:
            if len(self._queue) >= MOST_LONG_JOBS:
                raise BusyError(f"{len(self._queue)} jobs are waiting already")
            self._queue.append(job)
            self._next()
            return
        if len(self._given) >= MOST_QUICK_JOBS:
            raise BusyError("too many previews at once")
        job.state = "running"
        self._give(job)

    def cancel(self, job: Job) -> None:
        """Take a job out of the queue, or tell the worker to stop it."""
        if job in self._queue:
            self._queue.remove(job)
            job.finish("cancelled")
        elif job.id in self._given and not job.finished.is_set():
            # For its owner it is over now; the worker may need some seconds to stop.
            job.finish("cancelled")
            self._send(job.request._replace(kind="cancel"))
            asyncio.get_running_loop().call_later(KILL_SECONDS, self._kill_if_running, job)

    def forget(self, request: Request) -> None:
        """Tell the worker that a photo is gone."""
        self._send(request)

    async def close(self) -> None:
        """End the process."""
        self._closing = True
        for job in [*self._queue, *self._given.values()]:
            job.finish("cancelled")
        self._queue.clear()
        self._given.clear()
        if self._process is None:
            return
        self._send(None)
        process = self._process
        try:
            await asyncio.to_thread(process.wait, 2)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
        self._disconnect()

    def _kill_if_running(self, job: Job) -> None:
        if job.id in self._given and self._process is not None:
            self._process.kill()

    def _send(self, request: Request | None) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):  # it has died; the reader will see that
                self._connection.send(request)

    def _give(self, job: Job) -> None:
        self._given[job.id] = job
        self._send(job.request)

    def _next(self) -> None:
        """Give the next long job, if none is being worked at."""
        busy = any(job.request.kind in LONG_KINDS for job in self._given.values())
        if self._queue and not busy:
            job = self._queue.popleft()
            job.state = "running"
            self._give(job)

    def _readable(self) -> None:
        assert self._connection is not None
        try:
            while self._connection is not None and self._connection.poll():
                self._take(self._connection.recv())
        except (EOFError, OSError):
            self._died()

    def _take(self, reply: Reply) -> None:
        assert self._ready is not None
        if reply.kind == "ready":
            self._ready.set_result(None)
        elif not reply.job:
            self._ready.set_exception(RenderError(reply.value))
        elif reply.kind == "progress":
            if reply.job in self._given:
                self._given[reply.job].progress = reply.value
        else:
            job = self._given.pop(reply.job, None)
            if job is not None:
                failed = reply.kind == "failed"
                job.finish(reply.kind, **{"error" if failed else "result": reply.value})
            self._next()

    def _disconnect(self) -> None:
        if self._connection is not None:
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._connection.close()
            self._connection = None

    def _died(self) -> None:
        """Report the jobs that are lost, and start the process again."""
        assert self._process is not None and self._ready is not None
        self._disconnect()
        if self._closing:
            return
        self._process.kill()  # it may have closed the socket only
        reason = _end_of(self._process.wait())
        was_ready = self._ready.done() and self._ready.exception() is None
        if not self._ready.done():
            self._ready.set_exception(RenderError(f"the worker process {reason} while starting"))
        lost = list(self._given.values())
        self._given.clear()
        if not was_ready:
            lost += self._queue
            self._queue.clear()
            error = str(self._ready.exception())
        else:
            self.crashes += 1
            error = (
                f"The process that runs the network {reason} and was started again; "
                "try once more: nothing else is lost"
            )
        for job in lost:
            job.finish("failed", error=error, died=True)
        if was_ready:
            self._launch()
            self._next()


class RenderPool:
    """Several workers; each photo stays with one, which then has its histograms.

    The options are of all, but for the cores: `groups` has those of each worker. `on_finish` is told of
    each job that is over.
    """

    def __init__(self, options: WorkerOptions, groups: Sequence[tuple[int, ...]]) -> None:
        self._workers = [Worker(replace(options, cores=cores)) for cores in groups]
        self._homes: dict[str, Worker] = {}
        self.on_finish: Callable[[Job], None] = lambda job: None

    async def start(self) -> None:
        """Start all of them; raises `RenderError` if one cannot be."""
        await asyncio.gather(*(worker.start() for worker in self._workers))

    async def close(self) -> None:
        """End all of them."""
        await asyncio.gather(*(worker.close() for worker in self._workers))

    @property
    def crashes(self) -> int:
        """How many times a worker has died."""
        return sum(worker.crashes for worker in self._workers)

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    @property
    def ready(self) -> int:
        """How many of them are ready."""
        return sum(worker.ready for worker in self._workers)

    @property
    def load(self) -> int:
        """How many jobs are not over."""
        return sum(worker.load for worker in self._workers)

    def submit(self, request: Request) -> Job:
        """Return a job for a request; raises `BusyError` if too many are waiting."""
        home = self._homes.get(request.photo.id)
        if home is None:
            home = min(self._workers, key=lambda worker: worker.load)
            self._homes[request.photo.id] = home
        job = Job(request._replace(job=secrets.token_urlsafe(16)), on_finish=self.on_finish)
        home.submit(job)
        return job

    def cancel(self, job: Job) -> None:
        """Stop a job that is not done."""
        home = self._homes.get(job.request.photo.id)
        if home is not None:
            home.cancel(job)

    def forget(self, request: Request) -> None:
        """Say to the workers that a photo is gone."""
        self._homes.pop(request.photo.id, None)
        for worker in self._workers:  # it may be a reference to any
            worker.forget(request)


def core_groups(count: int | None) -> list[tuple[int, ...]]:
    """Divide the cores that this process may use among `count` workers: one for every 4 unless given."""
    cores = sorted(os.sched_getaffinity(0))
    workers = max(1, len(cores) // 4) if count is None else count
    if not 1 <= workers <= len(cores):
        raise InputError("workers", f"expected 1 to {len(cores)} on this machine, got {workers}")
    return [tuple(cores[index::workers]) for index in range(workers)]


def _end_of(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
