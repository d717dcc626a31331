"""Calls in other processes: in order, a bounded number at once, with clear errors."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from autocolor.core import processes
from autocolor.core.processes import INLINE, WorkerError, open_workers


def slow_square(number):
    time.sleep(0.02 * (number % 3))
    return number * number, os.getpid()


def die(number):
    if number == 3:
        os._exit(1)
    return number


def refuse(number):
    raise LookupError(f"no {number}")


def test_results_come_in_order_and_items_are_taken_as_needed():
    taken = []

    def items():
        for number in range(30):
            taken.append(number)
            yield number

    with open_workers(2) as workers:
        results = []
        for result in workers.map_ordered(slow_square, items()):
            results.append(result)
            assert len(taken) - len(results) < workers.in_flight
    assert [square for square, _ in results] == [number * number for number in range(30)]
    processes = {process for _, process in results}
    assert os.getpid() not in processes
    assert len(processes) == 2


def leaves_interrupts_alone(number):
    time.sleep(0.2)
    return os.getpid(), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_interrupts_are_for_this_process_alone():
    """Also where a worker is started by a later call than the first."""
    with open_workers(2) as workers:
        found = set(workers.map_ordered(leaves_interrupts_alone, range(6)))
    assert len(found) == 2 and all(blocked for _, blocked in found)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_one_process_is_this_one():
    with open_workers(1) as workers:
        assert workers is INLINE
        assert list(workers.map_ordered(slow_square, [3])) == [(9, os.getpid())]
        with pytest.raises(LookupError, match="no 5"):
            list(workers.map_ordered(refuse, [5]))


def test_a_lost_worker_and_a_wrong_function_are_told_apart():
    with open_workers(2) as workers, pytest.raises(WorkerError, match="a worker is lost"):
        list(workers.map_ordered(die, range(6)))
    with open_workers(2) as workers, pytest.raises(LookupError, match="no 0"):
        list(workers.map_ordered(refuse, range(6)))


def test_what_is_not_there_is_said(monkeypatch):
    with pytest.raises(ValueError, match="processes: expected at least 1, got 0"):
        open_workers(0).__enter__()
    monkeypatch.setattr(processes, "_CONNECT_SECONDS", 1)
    with pytest.raises(WorkerError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:9"):
        open_workers(1, "tcp://127.0.0.1:9").__enter__()
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(WorkerError, match="pip install distributed"):
        open_workers(1, "tcp://127.0.0.1:9").__enter__()


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same(monkeypatch):
    from distributed import LocalCluster

    # The workers have to import this module.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with open_workers(1, cluster.scheduler_address) as workers:
            results = list(workers.map_ordered(slow_square, range(20)))
            assert [square for square, _ in results] == [number * number for number in range(20)]
            assert os.getpid() not in {process for _, process in results}
            with pytest.raises(LookupError, match="no 0"):
                list(workers.map_ordered(refuse, range(3)))
