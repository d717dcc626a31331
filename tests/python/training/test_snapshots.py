"""Snapshots are found, told apart and copied."""

import pytest
from caffe.proto import caffe_pb2

from autocolor.training.snapshots import (
    SnapshotError,
    copy_snapshot,
    find_states,
    iteration_of,
    newest_usable,
    read_state,
)


def write_snapshot(prefix, iteration):
    model = prefix.with_name(f"{prefix.name}_iter_{iteration}.caffemodel")
    net = caffe_pb2.NetParameter()
    blob = net.layer.add(name="layer").blobs.add(data=[iteration])
    blob.shape.dim.append(1)
    model.write_bytes(net.SerializeToString())
    state = caffe_pb2.SolverState(iter=iteration, learned_net=str(model), current_step=0)
    state.history.add(data=[1.0]).shape.dim.append(1)
    model.with_suffix(".solverstate").write_bytes(state.SerializeToString())
    return model.with_suffix(".solverstate")


def test_a_copy_is_of_its_own(tmp_path):
    state = write_snapshot(tmp_path / "s", 7)
    (tmp_path / "other").mkdir()
    copy_snapshot(state, str(tmp_path / "other" / "t"))
    for path in tmp_path.glob("s_iter_7*"):
        path.unlink()
    (copied,) = find_states(str(tmp_path / "other" / "t"))
    found = read_state(copied)
    assert found.iteration == iteration_of(copied) == 7
    assert found.model == tmp_path / "other" / "t_iter_7.caffemodel"


def test_what_is_cut_off_is_passed_over(tmp_path):
    whole = write_snapshot(tmp_path / "s", 7)
    cut = write_snapshot(tmp_path / "s", 12)
    cut.write_bytes(cut.read_bytes()[:5])
    said = []
    assert newest_usable(str(tmp_path / "s"), lambda path: None, said.append) == whole
    assert len(said) == 1 and "s_iter_12.solverstate" in said[0]
    with pytest.raises(SnapshotError):
        copy_snapshot(cut, str(tmp_path / "t"))
