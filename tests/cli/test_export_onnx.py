"""tools/export_onnx.py as a user runs it."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from autocolor.runtime.caffemodel import read_caffemodel, write_caffemodel
from autocolor.runtime.onnx_graph import load_onnx_model
from helpers.programs import run_main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TOOL = runpy.run_path(str(ROOT / "tools/export_onnx.py"), run_name="export_onnx")


def export(*words):
    command = [sys.executable, "tools/export_onnx.py", *words]
    return subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_shipped_model_gives_caffes_colours(photo_folder, tmp_path):
    out = tmp_path / "new" / "autocolor.onnx"
    ran = export("--out", out, "--check", photo_folder)
    assert ran.returncode == 0, ran.stderr
    assert "3 photos: colours differ from Caffe's by at most " in ran.stdout
    onnx.checker.check_model(str(out), full_check=True)
    # As a program would that knows nothing of ours.
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    manifest = json.loads(session.get_modelmeta().custom_metadata_map["model.json"])
    grey = np.random.default_rng(0).random((2, 1, 64, 96), dtype=np.float32)
    for histogram in session.run(None, {"data": grey}):
        stride = manifest["stride"]
        assert histogram.shape == (2, manifest["bins"], 64 // stride, 96 // stride)
        np.testing.assert_allclose(histogram.sum(axis=1), 1, rtol=1e-5)


def test_other_colours_are_reported(model_folder, photo_folder, tmp_path, capsys):
    """The check of a net whose weights are another's."""
    folder = Path(shutil.copytree(model_folder, tmp_path / "other"))
    weights = read_caffemodel(folder / "weights.caffemodel")
    others = {name: (-first, *rest) for name, (first, *rest) in weights.items()}
    write_caffemodel(folder / "other.caffemodel", others, "other")
    model = load_onnx_model(
        folder / "deploy.prototxt", folder / "other.caffemodel", ("hue", "chroma")
    )
    photos = sorted(photo_folder.iterdir())
    model = model.SerializeToString()
    assert not TOOL["check"](model_folder, model, photos, 1)
    reported = capsys.readouterr()
    assert "coffee.png: " in reported.out + reported.err
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    assert not TOOL["check"](model_folder, model, [tmp_path / "broken.jpg"], 255)
    assert "no photo could be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "nowhere"), "nowhere: no such model folder"),
        (("--check", "nowhere"), "nowhere: no such folder or file"),
        (("--check", "tools"), "tools: no photos"),
    ],
)
def test_errors_are_one_line(words, message, tmp_path):
    failed = run_main("tools/export_onnx.py", "--out", tmp_path / "out.onnx", *words, status=1)
    (line,) = failed.stderr.splitlines()
    assert line.startswith("export_onnx: error: ")
    assert message in line
    assert not list(tmp_path.iterdir())
