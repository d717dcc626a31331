"""Stop a training from outside: signals, and a launcher that kills its processes; or see it crash."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

ABANDONED = signal.SIGUSR2
"""Sent to a training by its keeper when the launcher has killed the process it had started."""

_RELAYED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIGNAL_WHEN_PARENT_ENDS = 1  # PR_SET_PDEATHSIG of prctl(2)


class StopRequest:
    """Whether someone has asked the training to stop.

    The first SIGINT (Ctrl-C) or SIGTERM is noted; a training ends its iteration, writes a snapshot
    and stops. The second one acts as usual, which is to end the process at once.

    Attributes
    ----------
    signal : int or None
        The one that came.
    abandoned : bool
        Whether it was `ABANDONED`: nobody waits for this process any more.
    """

    def __init__(self, *, once: bool = True) -> None:
        """Take the signals over; without `once` a second one is noted like the first.

        mpirun can hand one Ctrl-C down twice.
        """
        self.signal: int | None = None
        self.abandoned = False
        numbers = (signal.SIGINT, signal.SIGTERM)
        previous = {number: signal.getsignal(number) for number in numbers}

        def note(number: int, frame: FrameType | None) -> None:
            self.signal = number
            self.abandoned = self.abandoned or number == ABANDONED
            if once:
                for other, handler in previous.items():
                    signal.signal(other, handler)

        for number in (*numbers, ABANDONED):
            signal.signal(number, note)


def supervise(report: Callable[[signal.Signals], None]) -> None:
    """Go on in a child process; this one waits for it, and reports if it crashes.

    Caffe ends its process in the middle of a training on data that it cannot use, and so does the
    kernel where memory is short. The waiting process hands signals down, and ends with the status of
    its child, or with 1 after a crash. If it is killed, so is the child.

    Call it before there are threads.

    Parameters
    ----------
    report : callable
        Called in the waiting process with the signal that ended the child, unless somebody sent it to
        stop the training.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    waiting = os.getpid()
    training = os.fork()
    if training == 0:
        # Out of reach of the terminal, whose Ctrl-C would otherwise come twice.
        os.setsid()
        ctypes.CDLL(None).prctl(_SIGNAL_WHEN_PARENT_ENDS, signal.SIGKILL)
        if os.getppid() != waiting:
            os._exit(1)
        return

    def pause(number: int, frame: Any) -> None:
        os.kill(training, signal.SIGSTOP)
        os.kill(waiting, signal.SIGSTOP)
        os.kill(training, signal.SIGCONT)

    signal.signal(signal.SIGTSTP, pause)
    status = _relay_until_end(training)
    if not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    number = signal.Signals(os.WTERMSIG(status))
    if number in _RELAYED:
        signal.signal(number, signal.SIG_DFL)
        os.kill(waiting, number)
    report(number)
    sys.stderr.flush()
    os._exit(1)


def keep(seconds: float) -> None:
    """Go on in a process that outlives the kill of this one, for as long as it takes to save.

    When a rank dies, ``mpirun`` kills those that are left, and most implementations do so without
    a word or a second's notice. So the process that mpirun started only waits for its child, in a
    session of its own, which this returns in, and hands signals down to it. A second child, the
    keeper, sees the death of the waiting process, sends `ABANDONED` to the training, and kills it
    if that does not end it within `seconds`.

    Call it before there are threads, and before MPI.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    alive, held_open = os.pipe()  # reading ends when the process that holds it open is gone
    training = os.fork()
    if training == 0:
        os.close(held_open)
        os.close(alive)
        os.setsid()
        return
    keeper = os.fork()
    if keeper == 0:
        os.close(held_open)
        os.setsid()
        _watch(alive, training, seconds)
        os._exit(0)
    status = _relay_until_end(training)
    os.kill(keeper, signal.SIGKILL)
    os.waitpid(keeper, 0)
    # 128 + signal is what a shell reports.
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _watch(alive: int, training: int, seconds: float) -> None:
    # A descriptor, since the number of a process that has ended may be given to another one.
    process = os.pidfd_open(training)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # The launcher waits for the end of its output, of which this has a copy.
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.read(alive, 1)
    try:
        signal.pidfd_send_signal(process, ABANDONED)
        if not select.select([process], [], [], seconds)[0]:
            signal.pidfd_send_signal(process, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended


def _relay_until_end(training: int) -> int:
    """Hand signals down until a child ends; returns what `os.waitpid` says of it."""

    def relay(number: int, frame: Any) -> None:
        os.kill(training, number)

    for number in _RELAYED:
        signal.signal(number, relay)
    return os.waitpid(training, 0)[1]
