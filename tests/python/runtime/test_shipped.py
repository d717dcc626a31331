"""The model that comes with autocolor."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import autocolor
from autocolor.nets.surgery import net_shapes
from autocolor.nets.weights_io import read_weights
from autocolor.runtime import shipped
from autocolor.runtime.caffemodel import WeightsError
from autocolor.runtime.model_folder import ModelError


def tiny_weights():
    rng = np.random.default_rng(0)
    return {
        "h_fc1": (rng.normal(size=(8, 6)).astype(np.float32), rng.normal(size=8)),
        "prediction_h": (rng.normal(size=(4, 8)).astype(np.float32), rng.normal(size=4)),
    }


def test_half_precision_of_weights_and_all_of_biases(tmp_path: Path) -> None:
    weights = tiny_weights()
    shipped.save_half(tmp_path / "weights.npz", weights)
    found = shipped.load_half(tmp_path / "weights.npz")
    assert list(found) == list(weights)
    for name, (weight, bias) in weights.items():
        np.testing.assert_allclose(found[name][0], weight, rtol=2**-11, atol=1e-7)
        np.testing.assert_array_equal(found[name][1], bias.astype(np.float32))
        assert found[name][0].dtype == np.float32
    # tools/convert_weights.py, and with it any training, reads the file as well.
    again = read_weights(tmp_path / "weights.npz")
    np.testing.assert_array_equal(again["h_fc1"][0], found["h_fc1"][0])


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_weights_out_of_range_are_refused(tmp_path: Path, factor: float) -> None:
    weights = tiny_weights()
    weights["h_fc1"] = (weights["h_fc1"][0] * np.float32(factor), weights["h_fc1"][1])
    with pytest.raises(WeightsError, match="layer h_fc1: does not fit half precision"):
        shipped.save_half(tmp_path / "weights.npz", weights)
    weights["h_fc1"] = weights["h_fc1"][:1]
    with pytest.raises(WeightsError, match="layer h_fc1: expected weight and bias, got 1 blobs"):
        shipped.save_half(tmp_path / "weights.npz", weights)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 damaged"])
def test_damaged_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.npz: not the weights of a model"):
        shipped.load_half(path)


def test_incomplete_weights(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", **{"h_fc1/weight": np.ones((2, 2))})
    with pytest.raises(ModelError, match=r"weights\.npz: not the weights of a model"):
        shipped.load_half(tmp_path / "weights.npz")


def test_weights_are_those_of_the_folder_and_fit_the_net() -> None:
    from autocolor.nets.colorization import ColorizationNet

    manifest = shipped.shipped_manifest()
    weights = shipped.shipped_weights()
    in_folder = read_weights(shipped.shipped_model_folder() / manifest.weights)
    assert weights.keys() == in_folder.keys()
    for name, blobs in weights.items():
        for blob, other in zip(blobs, in_folder[name], strict=True):
            np.testing.assert_array_equal(blob, other)
    shapes = net_shapes(ColorizationNet(manifest.variant, manifest.levels).deploy_net())
    assert {name: tuple(blob.shape for blob in blobs) for name, blobs in weights.items()} == shapes


def test_caffe_and_onnxruntime_agree() -> None:
    grey = np.random.default_rng(0).random((64, 96), np.float32)
    caffe, onnx = (autocolor.load_model(backend=name) for name in ("caffe", "onnx"))
    for found, expected in zip(caffe.histograms(grey), onnx.histograms(grey), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_folder_is_made_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOLOR_CACHE", str(tmp_path / "cache"))
    calls = []
    weights = shipped.shipped_weights
    monkeypatch.setattr(shipped, "shipped_weights", lambda: calls.append(1) or weights())
    folder = shipped.shipped_model_folder()
    assert folder.parent == tmp_path / "cache" / "models"
    assert sorted(path.name for path in folder.iterdir()) == [
        "deploy.prototxt",
        "model.json",
        "weights.caffemodel",
        "weights.caffemodel.sha256",
    ]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert shipped.shipped_model_folder() == folder
    assert len(calls) == 1
    # Other weights are another folder.
    package = tmp_path / "package"
    package.mkdir()
    for name in ("model.json", "deploy.prototxt"):
        (package / name).write_bytes((shipped.FOLDER / name).read_bytes())
    shipped.save_half(package / shipped.WEIGHTS, tiny_weights())
    monkeypatch.setattr(shipped, "FOLDER", package)
    assert shipped.shipped_model_folder() != folder


@pytest.mark.parametrize("name", ["weights.caffemodel", "deploy.prototxt", "model.json"])
def test_a_damaged_byte_in_the_cache_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOCOLOR_CACHE", str(tmp_path))
    path = shipped.shipped_model_folder() / name
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(ModelError, match=f"{path}: is .*damaged"):
        autocolor.load_model(backend="onnx")


def test_a_cache_that_cannot_be_written_names_what_chooses_another(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="cannot be written: .*; .*AUTOCOLOR_CACHE may name"):
        shipped.shipped_model_folder(tmp_path / "file")


@pytest.mark.slow
def test_nothing_is_fetched(tmp_path: Path) -> None:
    """Not a name is looked up: the first use works without a network."""
    program = """
import socket, numpy as np, autocolor
def refuse(*arguments): raise RuntimeError("network")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse
model = autocolor.load_model(backend="onnx")
print(model.colorize(np.full((40, 40), 0.5, np.float32)).shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"AUTOCOLOR_CACHE": str(tmp_path), "PATH": "/nonexistent", "HOME": str(tmp_path)},
    )
    assert done.stdout == "(40, 40, 3)\n", done.stderr
    assert (tmp_path / "models").is_dir()
