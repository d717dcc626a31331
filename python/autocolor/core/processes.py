"""Run a function in many processes, of this machine or of a Dask cluster, with results in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from autocolor.core.errors import AutocolorError, InputError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_IN_FLIGHT = 3  # calls for each worker: one that runs, one that waits, one whose result waits
_CONNECT_SECONDS = 30


class WorkerError(AutocolorError):
    """The workers cannot be had or are lost; one line."""


class _InlineExecutor(Executor):
    """Runs each call at once, in this process."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class _ProcessPool(ProcessPoolExecutor):
    """Leaves Ctrl-C to this process.

    Processes are started by calls, when there are too few. They inherit that the signal is blocked;
    otherwise it could reach them before an initializer that ignores it runs.
    """

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(function, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@dataclass(frozen=True)
class Workers:
    """Processes that take calls."""

    executor: Executor
    #: Calls that are under way or whose results wait, at most: this bounds the memory
    in_flight: int = 1
    #: What a call raises when its worker, not the function, has failed
    losses: tuple[type[BaseException], ...] = ()

    def map_ordered(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> Iterator[_Result]:
        """Yield ``function(item)`` for each item, in their order.

        Items are taken from the iterable only as results are taken from here.

        Parameters
        ----------
        function : callable
            Of a module, so that other processes can import it.
        items : iterable

        Raises
        ------
        WorkerError
            If a worker is lost.
        """
        pending: deque[Future[_Result]] = deque()
        try:
            for item in items:
                pending.append(self.executor.submit(function, item))
                if len(pending) >= self.in_flight:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except self.losses as error:
            reason = " ".join(str(error).split()) or "no reason was given"
            raise WorkerError(
                f"a worker is lost ({type(error).__name__}: {reason}); was memory short?"
            ) from error
        finally:
            for future in pending:
                future.cancel()


INLINE = Workers(_InlineExecutor())
"""This process alone."""


@contextmanager
def open_workers(processes: int, scheduler: str | None = None) -> Iterator[Workers]:
    """Start processes on this machine, or connect to those of a Dask cluster.

    Parameters
    ----------
    processes : int
        At 1, calls run in this process. Those that are started share the cores, and end with this
        process, even if it is killed.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``, whose workers are used instead.

    Raises
    ------
    WorkerError
        If the cluster cannot be reached, has no workers, or `distributed` is not installed.
    """
    if scheduler is not None:
        with _dask_workers(scheduler) as workers:
            yield workers
        return
    if processes < 1:
        raise InputError("processes", f"expected at least 1, got {processes}")
    if processes == 1:
        yield INLINE
        return
    # A forked child would share this process's open files and the locks of its threads.
    executor = _ProcessPool(
        processes,
        multiprocessing.get_context("spawn"),
        _start_worker,
        (max(1, available_processors() // processes),),
    )
    try:
        yield Workers(executor, _IN_FLIGHT * processes, (BrokenExecutor,))
    finally:
        executor.shutdown(cancel_futures=True)


def available_processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def _start_worker(threads: int) -> None:
    """In a worker: take a share of the cores, and end when the parent is gone for whatever reason."""
    # Caffe's BLAS reads this when it is loaded.
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, str(threads))
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("expected a process that another one has started")

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _dask_workers(scheduler: str) -> Iterator[Workers]:
    try:
        from distributed import Client, KilledWorker
        from distributed.comm.core import CommClosedError
    except ImportError as error:
        raise WorkerError(
            f"cannot import distributed ({error}); install it with: pip install distributed"
        ) from None
    try:
        client: Any = Client(scheduler, timeout=_CONNECT_SECONDS)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise WorkerError(f"no Dask scheduler at {scheduler}: {error}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
        except (OSError, TimeoutError):
            raise WorkerError(f"the Dask scheduler at {scheduler} has no workers") from None
        threads = sum(client.nthreads().values())
        with client.get_executor(pure=False) as executor:
            yield Workers(
                executor,
                _IN_FLIGHT * threads,
                # ImportError: a worker without this project.
                (KilledWorker, CommClosedError, CancelledError, ImportError),
            )
