"""Read a solver prototxt and check it, because Caffe ends the process on one that it cannot use. Needs pycaffe."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from caffe.proto import caffe_pb2

from autocolor.core.errors import AutocolorError
from autocolor.core.files import check_undamaged
from autocolor.core.isolation import run_isolated
from autocolor.data.lmdb_check import check_lmdb
from autocolor.data.lmdb_io import decode_datum, read_datums
from autocolor.imaging.images import ImageError
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.runtime.deploy_nets import read_prototxt
from autocolor.training.snapshots import State, missing_weights, read_state, restore

_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
_POLICIES = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")
_NEVER = 2**31 - 1  # an iteration that no training reaches
_BUILT = "built"
_OTHER_TYPE = "is of solver type"
_TWO_HISTORIES = ("AdaDelta", "Adam")  # a parameter; the other types have one
_OF_RECORDS = re.compile(r"^F.* data_transformer\.cpp:", re.MULTILINE)


class SolverError(AutocolorError):
    """A solver, or a file it names, that cannot be used; one line."""


def read_solver(path: Path) -> Any:
    """Read a solver prototxt with the snapshot prefix that Caffe would give it.

    Returns
    -------
    caffe.proto.caffe_pb2.SolverParameter

    Raises
    ------
    SolverError
        If it cannot be read, or says something that Caffe refuses once it runs. What Caffe refuses
        at once is left to :func:`probe`.
    """
    solver = read_prototxt(path, caffe_pb2.SolverParameter(), SolverError)

    def require(condition: bool, name: str, expected: str) -> None:
        if not condition:
            raise SolverError(f"{path}: {name}: expected {expected}, got {getattr(solver, name)!r}")

    require(solver.type in _TYPES, "type", f"one of {', '.join(_TYPES)}")
    require(solver.lr_policy in _POLICIES, "lr_policy", f"one of {', '.join(_POLICIES)}")
    require(solver.regularization_type in ("L1", "L2"), "regularization_type", "L1 or L2")
    require(
        solver.lr_policy not in ("step", "sigmoid") or solver.stepsize > 0, "stepsize", "above 0"
    )
    require(solver.gamma >= 0, "gamma", "at least 0")
    for name in ("max_iter", "iter_size", "average_loss"):
        require(getattr(solver, name) >= 1, name, "at least 1")
    if not solver.HasField("snapshot_prefix"):
        solver.snapshot_prefix = str(path.with_suffix(""))
    elif Path(solver.snapshot_prefix).is_dir():
        solver.snapshot_prefix = str(Path(solver.snapshot_prefix) / path.stem)
    return solver


def read_train_net(solver: Any) -> Any:
    """Return the net that the solver trains, as a ``NetParameter``."""
    for name in ("net_param", "train_net_param"):
        if solver.HasField(name):
            return getattr(solver, name)
    path = solver.train_net or solver.net
    if not path:
        raise SolverError("the solver names no net to train: expected net or train_net")
    return read_prototxt(Path(path), caffe_pb2.NetParameter(), SolverError)


def check_files(solver: Any, weights: Sequence[str]) -> None:
    """Refuse nets, data sources and weights that are missing, and a place that cannot be written to.

    Raises
    ------
    SolverError
        Naming the file.
    """
    known = set(import_caffe().layer_type_list())
    for name, net, phase in _nets(solver):
        for layer in layers_of(net, phase):
            where = f"{name}: layer {layer.name!r}"
            if layer.type not in known:
                raise SolverError(f"{where}: this Caffe has no layer of type {layer.type!r}")
            for source in _sources(layer):
                if not source.exists():
                    raise SolverError(f"{where}: {source}: no such file or folder")
            if (lmdb := _lmdb(layer)) is not None:
                try:
                    check_lmdb(lmdb)
                except ImageError as error:
                    raise SolverError(f"{where}: {error}") from None
    for name in [name for group in (*weights, *solver.weights) for name in group.split(",")]:
        path = Path(name.strip())
        if not path.is_file():
            raise SolverError(f"{path}: no such file of weights")
        check_undamaged(path, SolverError)
    folder = Path(solver.snapshot_prefix).parent
    if "\0" in solver.snapshot_prefix:
        raise SolverError(f"snapshot_prefix: expected a path, got {solver.snapshot_prefix!r}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SolverError(f"snapshot_prefix: cannot make the folder {folder}: {error}") from None
    if not os.access(folder, os.W_OK):
        raise SolverError(f"snapshot_prefix: cannot write to the folder {folder}")


def check_records(solver_file: Path) -> None:
    """Read and decode all that a solver's nets read from LMDBs.

    Raises
    ------
    SolverError
        If the solver or a net cannot be read.
    ImageError
        Naming the LMDB and the first record that is no Datum, or cannot be decoded.
    """
    sources = {
        source
        for _, net, phase in _nets(read_solver(solver_file))
        for layer in layers_of(net, phase)
        if (source := _lmdb(layer)) is not None
    }
    for source in sorted(sources):
        for key, datum in read_datums(source):
            try:
                decode_datum(datum)
            except ImageError as error:
                raise ImageError(f"{source}: record {key}: {error}") from None


def _nets(solver: Any) -> list[tuple[str, Any, str]]:
    """Return name, ``NetParameter`` and phase of the net to train and those to test with."""
    nets = [(solver.train_net or solver.net or "the solver's net", read_train_net(solver), "TRAIN")]
    tested = [*solver.test_net, *([solver.net] if solver.net and solver.test_iter else [])]
    for name in tested:
        net = read_prototxt(Path(name), caffe_pb2.NetParameter(), SolverError)
        nets.append((name, net, "TEST"))
    return nets


def layers_of(net: Any, phase: str) -> list[Any]:
    """Return the layers of a ``NetParameter`` that are there in ``TRAIN`` or ``TEST``."""
    number, kept = caffe_pb2.Phase.Value(phase), []
    for layer in net.layer:
        phases = [rule.phase for rule in layer.include if rule.HasField("phase")]
        if number in phases or not phases:
            kept.append(layer)
    return kept


def _sources(layer: Any) -> Iterator[Path]:
    """Yield the files and folders that a layer reads."""
    if layer.type == "Data":
        lmdb = _lmdb(layer)
        yield Path(layer.data_param.source) if lmdb is None else lmdb / "data.mdb"
    files = {"ImageData": "image_data", "HDF5Data": "hdf5_data", "WindowData": "window_data"}
    if layer.type in files:
        yield Path(getattr(layer, f"{files[layer.type]}_param").source)
    if layer.transform_param.mean_file:
        yield Path(layer.transform_param.mean_file)


def _lmdb(layer: Any) -> Path | None:
    """Return the LMDB that a layer reads, if it does."""
    is_lmdb = layer.data_param.backend == caffe_pb2.DataParameter.LMDB
    return Path(layer.data_param.source) if layer.type == "Data" and is_lmdb else None


def effective_solver(solver: Any, weights: Sequence[str], *, root: bool = True) -> Any:
    """Return the solver for :mod:`autocolor.training.solver_runner`, which itself tests and snapshots.

    pycaffe has no way to read what the test nets gave, which the `root` alone wants. Everything else is as
    it was, so that the random numbers are drawn in the order of ``caffe train``. `weights`, if there are
    any, take the place of the solver's own, as ``caffe train -weights``.
    """
    effective = caffe_pb2.SolverParameter()
    effective.CopyFrom(solver)
    effective.snapshot = 0
    if weights:
        del effective.weights[:]
        effective.weights.extend(weights)
    if not root:
        for name in ("test_net", "test_net_param", "test_iter", "test_state"):
            effective.ClearField(name)
    if effective.test_iter:
        effective.test_interval = _NEVER
        effective.test_initialization = False
    else:
        effective.ClearField("test_interval")
    return effective


def probe(solver_file: Path, state: Path | None = None) -> str | None:
    """Build the solver in another process, and restore a snapshot, to see whether Caffe aborts.

    Parameters
    ----------
    solver_file : Path
    state : Path, optional
        A ``.solverstate`` to restore.

    Returns
    -------
    str or None
        Why Caffe cannot restore `state`.

    Raises
    ------
    SolverError
        If Caffe cannot build the solver; the text is Caffe's. If `state` is of another type of
        solver.
    ImageError
        If that is because of a record of an LMDB, which it names.
    """
    failure = run_isolated(_build, [str(solver_file), state and str(state)])
    if failure is None:
        return None
    if _OTHER_TYPE in failure.reason:
        raise SolverError(failure.reason)
    if _BUILT in failure.output:
        return failure.reason
    if _OF_RECORDS.search(failure.errors):
        # Data layers read ahead as soon as they are built; the record that Caffe does not name is.
        check_records(solver_file)
    raise SolverError(f"Caffe refuses the solver: {failure.reason}")


def _build(solver_file: str, state: str | None) -> None:
    """In the child: build a solver and restore a snapshot."""
    solver = import_caffe().get_solver(solver_file)
    print(_BUILT, flush=True)
    if state is not None:
        known = read_state(Path(state))
        # Caffe leaves a layer that the file lacks as it was initialised, and says nothing.
        if missing := missing_weights(solver.net, known.model):
            raise SolverError(f"{known.model} has no weights of {missing}")
        kind = read_prototxt(Path(solver_file), caffe_pb2.SolverParameter(), SolverError).type
        if (other := _other_type(kind, known, solver.net)) is not None:
            raise SolverError(
                f"{state}: {_OTHER_TYPE} {other}, the solver is {kind}; change that back, or start from "
                f"its weights (--weights {known.model}) with another snapshot_prefix"
            )
        restore(solver, Path(state))


def _other_type(kind: str, state: State, net: Any) -> str | None:
    """Return the type of the solver that wrote a state if that is not `kind`, as far as one can see."""
    if state.solver_type is not None:
        return None if state.solver_type == kind else state.solver_type
    # caffe train does not say, but the types differ in how much they remember.
    parameters = len({b.data.ctypes.data for blobs in net.params.values() for b in blobs})
    if kind in _TWO_HISTORIES:
        return "SGD or alike" if state.blobs == parameters else None
    return " or ".join(_TWO_HISTORIES) if state.blobs == 2 * parameters else None
