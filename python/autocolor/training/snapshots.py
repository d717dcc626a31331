"""Write and find the snapshots of a training, and tell whole ones from damaged or unfinished ones.

Beside each file of a snapshot lies its checksum; what ``caffe train`` wrote has none. Needs pycaffe.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError

from autocolor.core.errors import AutocolorError
from autocolor.core.files import (
    DAMAGED,
    LockedError,
    check_undamaged,
    checksum_of,
    exclusive,
    naming,
    write_checksum,
)
from autocolor.runtime.caffemodel import WeightsError, map_caffemodel

_ENDINGS = (".solverstate", ".solverstate.h5")
_WRITING = "being written"
_TYPE = "solver type: "

_DAMAGED = (*DAMAGED, DecodeError, WeightsError)


class SnapshotError(AutocolorError):
    """A snapshot that is missing a part or cannot be read; one line."""


@dataclass(frozen=True)
class State:
    """What a ``.solverstate`` file says."""

    iteration: int
    model: Path  #: Caffemodel beside it, whatever its folder was called when they were written
    named: Path  #: Caffemodel that Caffe would read
    blobs: int  #: Of the solver's history
    solver_type: str | None  #: That wrote it; Caffe does not say


def snapshot_files(prefix: str) -> list[Path]:
    """Return every file that a training with this ``snapshot_prefix`` has snapshotted."""
    base = Path(prefix)
    pattern = re.compile(
        re.escape(base.name) + r"_iter_\d+\.(caffemodel|solverstate)(\.h5)?(\.lock|\.sha256)?"
    )
    if not base.parent.is_dir():
        return []
    return sorted(path for path in base.parent.iterdir() if pattern.fullmatch(path.name))


def find_states(prefix: str) -> list[Path]:
    """Return the ``.solverstate`` files of a training, complete or not, the newest first."""
    states = [path for path in snapshot_files(prefix) if path.name.endswith(_ENDINGS)]
    return sorted(states, key=iteration_of, reverse=True)


def iteration_of(path: Path) -> int:
    """Return the iteration that the name of a snapshot says."""
    return int(path.name.rsplit("_iter_", 1)[1].split(".")[0])


def read_state(path: Path) -> State:
    """Read a ``.solverstate`` of either format, and that the caffemodel beside it can be read.

    Raises
    ------
    SnapshotError
        If either file is missing, cut off or damaged.
    """
    if is_unfinished(path):
        raise SnapshotError(f"{path}: was not written to its end")
    if not path.is_file():
        raise SnapshotError(f"{path}: no such file")
    check_undamaged(path, SnapshotError)
    return _read(path)


def _read(path: Path) -> State:
    try:
        if path.suffix == ".h5":
            with h5py.File(path, "r") as file:
                model = file["learned_net"]
                # Of fixed length, as Caffe writes it: in a damaged heap of others, HDF5 may run
                # round in circles.
                if model.dtype.kind != "S":
                    raise ValueError
                found = int(file["iter"][0]), model[()].decode(), len(file["history"])
                file["current_step"]  # written last
        else:
            message = caffe_pb2.SolverState.FromString(path.read_bytes())
            found = message.iter, message.learned_net, len(message.history)
            # A name that is no UTF-8 any more comes as bytes.
            if not message.history or not isinstance(message.learned_net, str):
                raise ValueError
    except _DAMAGED:
        raise SnapshotError(f"{path}: is cut off or damaged") from None
    iteration, named, blobs = found
    if iteration != iteration_of(path):
        raise SnapshotError(f"{path}: expected iteration {iteration_of(path)}, got {iteration}")
    noted_type = re.search(f"{_TYPE}(.*)", _note(path))
    state = State(iteration, _beside(path), Path(named), blobs, noted_type and noted_type.group(1))
    _shapes(state.model)
    return state


def _beside(state: Path) -> Path:
    """Return the caffemodel that Caffe wrote together with a state."""
    return state.with_name("caffemodel".join(state.name.rsplit("solverstate", 1)))


def _state_of(model: Path) -> Path:
    name = "solverstate".join(model.name.removesuffix(".sha256").rsplit("caffemodel", 1))
    return model.with_name(name)


def is_unfinished(state: Path) -> bool:
    """Return whether the writing of a snapshot has begun and not ended."""
    return _WRITING in _note(state)


def unfinished(prefix: str) -> list[Path]:
    """Return the states of a training whose writing has begun and not ended."""
    states = {p.with_suffix("") for p in snapshot_files(prefix) if p.suffix == ".sha256"}
    return sorted(filter(is_unfinished, states))


def _note(state: Path) -> str:
    try:
        return checksum_of(state).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def restore(caffe_solver: Any, path: Path) -> None:
    """Let a solver go on from a state, with the caffemodel beside it.

    Caffe itself reads the one that the state names, in the folder where the training once was.

    Raises
    ------
    SnapshotError
        If the snapshot cannot be read.
    """
    state = read_state(path)
    if state.named.exists() and state.named.samefile(state.model):
        caffe_solver.restore(str(path))
        return
    caffe_solver.net.copy_from(str(state.model))
    with tempfile.TemporaryDirectory(prefix="autocolor_state_") as folder:
        nameless = Path(folder, path.name)
        with naming(nameless):
            if path.suffix == ".h5":
                shutil.copyfile(path, nameless)
                with h5py.File(nameless, "r+") as file:
                    del file["learned_net"]
            else:
                message = caffe_pb2.SolverState.FromString(path.read_bytes())
                message.ClearField("learned_net")
                nameless.write_bytes(message.SerializeToString())
        caffe_solver.restore(str(nameless))


def copy_snapshot(path: Path, prefix: str) -> None:
    """Copy a complete snapshot to where another training, with this ``snapshot_prefix``, finds it."""
    state = read_state(path)
    copy = Path(f"{prefix}_iter_{path.name.rsplit('_iter_', 1)[1]}")

    def write() -> None:
        shutil.copyfile(state.model, _beside(copy))
        shutil.copyfile(path, copy)

    write_snapshot(copy, state.solver_type, write)


def write_snapshot(state: Path, solver_type: str | None, write: Callable[[], None]) -> None:
    """Write a snapshot, then its checksums; until then a note says that it is unfinished.

    `write` writes `state` and the caffemodel beside it. What cannot be read back, as from a full disk, is a
    `SnapshotError`.
    """
    mark, model = checksum_of(state), _beside(state)
    with naming(mark):
        mark.write_text(f"# {_WRITING}\n", encoding="utf-8")
    checksum_of(model).unlink(missing_ok=True)
    write()
    _read(state)
    write_checksum(model)
    write_checksum(state, note=f"{_TYPE}{solver_type}" if solver_type else "")


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
    if not model.is_file():
        raise SnapshotError(f"{model}: no such file, beside its solverstate")
    check_undamaged(model, SnapshotError)
    try:
        if model.suffix == ".h5":
            with h5py.File(model, "r") as file:
                return {
                    name: {int(index): blob.shape for index, blob in layer.items()}
                    for name, layer in file["data"].items()
                }
        return {
            name: {index: blob.shape for index, blob in enumerate(blobs)}
            for name, blobs in map_caffemodel(model).items()
        }
    except _DAMAGED:
        raise SnapshotError(f"{model}: is cut off or damaged") from None


def newest_usable(
    prefix: str, problem: Callable[[Path], str | None], say: Callable[[str], None]
) -> Path | None:
    """Return the newest ``.solverstate`` of a training that is complete and that Caffe restores.

    `problem` returns why Caffe cannot restore a state, or None; `say` is told of every snapshot that is
    passed over. The result is None if there is no snapshot, or only one whose writing has not ended; if
    there are others and none is usable, that is a `SnapshotError`.
    """
    states = find_states(prefix)
    # Of a snapshot that has lost its state, or not got it yet, there is the caffemodel.
    alone = {_state_of(path) for path in snapshot_files(prefix) if ".caffemodel" in path.name}
    refused = 0
    for path in sorted({*states, *alone}, key=iteration_of, reverse=True):
        try:
            read_state(path)
            reason = problem(path)
        except SnapshotError as error:
            reason = str(error)
        if reason is None:
            return path
        say(f"passing over snapshot {path.name}: {reason}")
        refused += not is_unfinished(path)
    if refused:
        raise SnapshotError(
            f"{prefix}: no snapshot is usable, of {refused} (reasons above); to start anew, move "
            "them away or (tools/train.py) remove them with --force"
        )
    return None


def save_once(state: Path, solver_type: str, write: Callable[[], None]) -> None:
    """Let one of several processes write a snapshot.

    All have the same weights, and a process that is killed in the middle must not spoil what
    another has written.
    """
    with suppress(LockedError), exclusive(state.with_name(f"{state.name}.lock")):
        try:
            read_state(state)
        except SnapshotError:  # not there, or cut off: to be written again
            write_snapshot(state, solver_type, write)
