"""Running a deploy net in real Caffe, and files that Caffe would end the process on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from scipy.special import softmax

from autocolor.runtime import caffe_runtime
from autocolor.runtime.caffe_net import CaffeNet
from autocolor.runtime.caffe_runtime import CaffeError, import_caffe
from autocolor.runtime.model_folder import ModelError


@pytest.fixture
def files(model_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return copies of the tiny model's prototxt and weights."""
    for name in ("deploy.prototxt", "weights.caffemodel"):
        shutil.copy(model_folder / name, tmp_path)
    return tmp_path / "deploy.prototxt", tmp_path / "weights.caffemodel"


def test_output_is_that_of_the_layers(files: tuple[Path, Path]) -> None:
    net = CaffeNet(*files)
    rng = np.random.default_rng(0)
    weights = import_caffe().Net(str(files[0]), str(files[1]), import_caffe().TEST).params
    # Two sizes, as the net must be reshaped between photos.
    for height, width in ((32, 64), (96, 32)):
        lightness = rng.random((height, width), dtype=np.float32)
        patches = lightness.reshape(height // 4, 4, width // 4, 4).swapaxes(1, 2)
        for head, output in zip(("hue", "chroma"), net(lightness), strict=True):
            kernel, bias = (blob.data for blob in weights[f"prediction_{head}"])
            logits = np.einsum("jiyx,kyx->kji", patches, kernel[:, 0]) + bias[:, None, None]
            np.testing.assert_allclose(output, softmax(logits, axis=0), atol=1e-5)


def test_outputs_are_copies(files: tuple[Path, Path]) -> None:
    net = CaffeNet(*files)
    first, _ = net(np.zeros((32, 32), np.float32))
    before = first.copy()
    net(np.ones((32, 32), np.float32))
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize("missing", [0, 1])
def test_missing_file(files: tuple[Path, Path], missing: int) -> None:
    files[missing].unlink()
    with pytest.raises(ModelError, match=f"{files[missing].name}: no such file"):
        CaffeNet(*files)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layer {", "lawyer {", "expected a prototxt of this Caffe: .*lawyer"),
        ('type: "Softmax"', 'type: "Softmin"', "layer 'hue': .*no layer of type 'Softmin'"),
        ('top: "chroma"', 'top: "saturation"', "expected a blob named 'chroma'"),
        (
            "num_output: 32",
            "num_output: 16",
            r"layer 'prediction_hue': expected \[\[16, 1, 4, 4\], \[16\]\], "
            r"got \[\[32, 1, 4, 4\], \[32\]\]",
        ),
        (
            'name: "prediction_chroma"',
            'name: "prediction_c"',
            "layer 'prediction_c': expected .*no such layer",
        ),
    ],
)
def test_wrong_prototxt(files: tuple[Path, Path], old: str, new: str, message: str) -> None:
    text = files[0].read_text()
    assert old in text
    files[0].write_text(text.replace(old, new))
    with pytest.raises(ModelError, match=message):
        CaffeNet(*files)


def test_cut_weights(files: tuple[Path, Path]) -> None:
    # Wherever a file is cut, it is refused: as no message, or for the layers it has lost.
    content = files[1].read_bytes()
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        files[1].write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"weights\.caffemodel: "):
            CaffeNet(*files)


def test_text_as_weights(files: tuple[Path, Path]) -> None:
    files[1].write_text("version https://example.org/large-file-pointer\n")
    with pytest.raises(ModelError, match="expected a binary Caffe model"):
        CaffeNet(*files)


def test_unknown_device() -> None:
    with pytest.raises(
        ValueError, match="device: expected 'cpu', 'gpu' or 'gpu:NUMBER', got 'tpu'"
    ):
        import_caffe("tpu")


def test_gpu_of_a_cpu_build_is_refused(files: tuple[Path, Path]) -> None:
    # In a process of its own: Caffe itself would end it.
    code = (
        "import sys; from pathlib import Path; from autocolor.runtime.caffe_net import CaffeNet\n"
        "from autocolor.runtime.caffe_runtime import CaffeError\n"
        "try: CaffeNet(Path(sys.argv[1]), Path(sys.argv[2]), 'gpu')\n"
        "except CaffeError as error: print(error)\n"
        "else: print('on the GPU')"
    )
    command = [sys.executable, "-c", code, *map(str, files)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    # A CUDA build may find a GPU or none; neither ends the process.
    assert run.stdout.startswith(
        (
            "device 'gpu': this Caffe is built for the CPU only; `bash tools/setup.sh",
            "device 'gpu': CUDA finds no GPU",
            "on the GPU",
        )
    )


class StandInLibrary:
    """libcaffe of a CUDA build, by the two functions that are asked for."""

    def __init__(self, usable: bool) -> None:
        self._ZN5caffe16caffe_gpu_memcpyEmPKvPv = None
        self._ZN5caffe5Caffe11CheckDeviceEi = Mock(return_value=usable)


def test_gpu_of_a_cuda_build() -> None:
    caffe_runtime._check_gpu(StandInLibrary(usable=True), 0)  # type: ignore[arg-type]
    with pytest.raises(CaffeError, match="device 'gpu': CUDA finds no GPU"):
        caffe_runtime._check_gpu(StandInLibrary(usable=False), 0)  # type: ignore[arg-type]


def test_mode_is_set_again_before_each_run(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = CaffeNet(*files)
    devices: list[str] = []
    monkeypatch.setattr("autocolor.runtime.caffe_net.import_caffe", devices.append)
    for _ in range(2):
        net(np.zeros((32, 32), np.float32))
    assert devices == ["cpu", "cpu"]


def test_library_does_not_import_caffe() -> None:
    code = (
        "import sys, autocolor.cli.command\n"
        "from autocolor.evaluation import evaluate, report, strength\n"
        "assert 'caffe' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_caffe_is_quiet(files: tuple[Path, Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from autocolor.runtime.caffe_net import CaffeNet\n"
        "CaffeNet(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, *map(str, files)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert run.stdout + run.stderr == ""


def test_missing_caffe_is_explained() -> None:
    code = (
        "import sys; sys.modules['caffe'] = None\n"
        "from autocolor.runtime.caffe_runtime import CaffeError, import_caffe\n"
        "try: import_caffe()\n"
        "except CaffeError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "tools/setup.sh" in run.stdout and "build/env.sh" in run.stdout
