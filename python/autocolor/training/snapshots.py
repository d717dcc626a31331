"""Find the snapshots of a training, and tell complete ones from those that were cut off.

Needs pycaffe, for Caffe's messages.
"""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError

from autocolor.core.errors import AutocolorError
from autocolor.core.files import atomic_path
from autocolor.runtime.caffemodel import WeightsError, read_caffemodel

_ENDINGS = (".solverstate", ".solverstate.h5")

# What the readers raise on damaged files, and what comes of values of other types than Caffe's.
_DAMAGED = (
    OSError,
    RuntimeError,
    DecodeError,
    WeightsError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
)


class SnapshotError(AutocolorError):
    """A snapshot that is missing a part or cannot be read; one line."""


@dataclass(frozen=True)
class State:
    """What a ``.solverstate`` file says.

    Attributes
    ----------
    iteration : int
    model : Path
        The caffemodel that was written with it.
    """

    iteration: int
    model: Path


def snapshot_files(prefix: str) -> list[Path]:
    """Return every file that a training with this ``snapshot_prefix`` has snapshotted."""
    base = Path(prefix)
    pattern = re.compile(
        re.escape(base.name) + r"_iter_\d+\.(caffemodel|solverstate)(\.h5)?(\.lock)?"
    )
    if not base.parent.is_dir():
        return []
    return sorted(path for path in base.parent.iterdir() if pattern.fullmatch(path.name))


def find_states(prefix: str) -> list[Path]:
    """Return the ``.solverstate`` files of a training, complete or not, the newest first."""
    states = [path for path in snapshot_files(prefix) if path.name.endswith(_ENDINGS)]
    return sorted(states, key=iteration_of, reverse=True)


def iteration_of(state: Path) -> int:
    """Return the iteration that the name of a snapshot says."""
    return int(state.name.rsplit("_iter_", 1)[1].split(".")[0])


def read_state(path: Path) -> State:
    """Read a ``.solverstate`` of either format, and that its caffemodel can be read.

    Raises
    ------
    SnapshotError
        If either file is missing, cut off or damaged.
    """
    try:
        if path.suffix == ".h5":
            with h5py.File(path, "r") as file:
                model = file["learned_net"]
                # Of fixed length, as Caffe writes it: in a damaged heap of others, HDF5 may run
                # round in circles.
                if model.dtype.kind != "S":
                    raise SnapshotError(f"{path}: is cut off or damaged")
                state = State(int(file["iter"][0]), Path(model[()].decode()))
                file["current_step"], file["history"]  # written last
        else:
            message = caffe_pb2.SolverState.FromString(path.read_bytes())
            if not message.history:
                raise SnapshotError(f"{path}: is cut off or damaged")
            state = State(message.iter, Path(message.learned_net))
    except _DAMAGED:
        raise SnapshotError(f"{path}: is cut off or damaged") from None
    if state.iteration != iteration_of(path):
        raise SnapshotError(
            f"{path}: expected iteration {iteration_of(path)}, got {state.iteration}"
        )
    _shapes(state.model)
    return state


def copy_snapshot(state: Path, prefix: str) -> None:
    """Copy a complete snapshot to where another training finds it.

    Parameters
    ----------
    state : Path
        Binary ``.solverstate``.
    prefix : str
        The ``snapshot_prefix`` of the other training.

    Raises
    ------
    SnapshotError
        If it is cut off or damaged.
    """
    known = read_state(state)
    model = Path(f"{prefix}_iter_{known.iteration}.caffemodel")
    with atomic_path(model) as partial:
        shutil.copyfile(known.model, partial)
    message = caffe_pb2.SolverState.FromString(state.read_bytes())
    message.learned_net = str(model)
    # Last: it makes a snapshot of the two.
    with atomic_path(model.with_suffix(".solverstate")) as partial:
        partial.write_bytes(message.SerializeToString())


def missing_weights(net: Any, model: Path) -> str | None:
    """Return the first layer of the net whose weights a caffemodel lacks, or None.

    Shared weights need to be there once; HDF5 has no more.
    """
    shapes = _shapes(model)
    needed: dict[int, str] = {}
    found = set()
    for name, blobs in net.params.items():
        for index, blob in enumerate(blobs):
            address = blob.data.ctypes.data
            needed.setdefault(address, name)
            if shapes.get(name, {}).get(index) == tuple(blob.shape):
                found.add(address)
    return next((name for address, name in needed.items() if address not in found), None)


def _shapes(model: Path) -> dict[str, dict[int, tuple[int, ...]]]:
    """Shapes of the blobs of each layer in a caffemodel of either format."""
    try:
        if model.suffix == ".h5":
            with h5py.File(model, "r") as file:
                return {
                    name: {int(index): blob.shape for index, blob in layer.items()}
                    for name, layer in file["data"].items()
                }
        return {
            name: {index: blob.shape for index, blob in enumerate(blobs)}
            for name, blobs in read_caffemodel(model).items()
        }
    except FileNotFoundError:
        raise SnapshotError(
            f"{model}: no such file, of the folder in which this was started"
        ) from None
    except _DAMAGED:
        raise SnapshotError(f"{model}: is cut off or damaged") from None


def newest_usable(
    prefix: str, problem: Callable[[Path], str | None], say: Callable[[str], None]
) -> Path | None:
    """Return the newest ``.solverstate`` that is complete and that Caffe restores.

    Parameters
    ----------
    prefix : str
        The solver's ``snapshot_prefix``.
    problem : callable
        Why Caffe cannot restore a state, or None.
    say : callable
        Told of every snapshot that is passed over.
    """
    for path in find_states(prefix):
        try:
            read_state(path)
            reason = problem(path)
        except SnapshotError as error:
            reason = str(error)
        if reason is None:
            return path
        say(f"passing over snapshot {path.name}: {reason}")
    return None


def save_once(prefix: str, iteration: int, write: Callable[[], None]) -> bool:
    """Let one of several processes write the snapshot of an iteration; whether this one did.

    All have the same weights, and a process that is killed in the middle must not spoil what
    another has written.
    """
    state = Path(f"{prefix}_iter_{iteration}")
    lock = state.with_name(state.name + ".solverstate.lock")
    with lock.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        try:
            for ending in _ENDINGS:
                path = state.with_name(state.name + ending)
                if path.exists():
                    read_state(path)
                    return False
        except SnapshotError:
            pass  # cut off: to be written again
        write()
        lock.unlink(missing_ok=True)
    return True
