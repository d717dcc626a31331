"""The check of a GPU, where there is none: all of it but the kernels, and that it can fail."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpu
import gpu_steps
from helpers.programs import run_main, run_tool, wait_until_gone


@pytest.mark.slow
def test_without_a_gpu_all_but_the_kernels_is_done(tmp_path: Path) -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = run_tool("tools/checks/gpu.py", tmp_path, "--quick", env=environment, status=1)
    assert done.stdout.startswith("gpu: no GPU can be used: ")
    assert done.stderr.splitlines()[-1] == "gpu: error: no GPU was checked"
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert results["ran_on"] == "cpu" and results["device"]["verdict"] == "failed"
    steps = results["steps"]
    assert list(steps) == [check.name for check in gpu.CHECKS]
    skipped = {name for name, step in steps.items() if step["verdict"] == "skipped"}
    assert skipped == {"memcheck", "racecheck", "profile"}
    assert all(step["verdict"] == "passed" for name, step in steps.items() if name not in skipped)
    compared = steps["layers"]["largest_differences"]
    ours = {
        "ColorSpace",
        "ColorHistogram",
        "HypercolumnTap",
        "SparseHypercolumn",
        "HypercolumnInnerProduct",
        "SoftmaxKLDivergenceLoss",
    }
    assert ours | {"Convolution", "InnerProduct", "Pooling"} <= set(compared)
    assert len(steps["train"]["losses"]) == 2 and steps["train"]["images_a_second"] > 0


def test_wrong_arguments(tmp_path: Path) -> None:
    seconds = run_main("tools/checks/gpu.py", tmp_path, "--seconds", "0", status=2)
    assert "--seconds: expected more than 0, got 0.0" in seconds.stderr
    photos = run_main("tools/checks/gpu.py", tmp_path, "--photos", tmp_path / "none", status=2)
    assert f"--photos {tmp_path / 'none'}: no such folder" in photos.stderr


def test_difference() -> None:
    assert gpu_steps.difference(np.array([1.0, 4.0]), np.array([1.0, 5.0])) == 0.2
    assert gpu_steps.difference(np.array([0.5]), np.array([0.0])) == 0.5
    assert gpu_steps.difference(np.array([np.nan]), np.array([1.0])) == np.inf


@pytest.mark.slow
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_a_layer_that_computes_something_else_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Every pass of "the GPU" over a loss or a convolution is off by one part in a hundred."""
    step = gpu_steps.Step("cpu", True, tmp_path, None)
    current = {"device": "cpu"}
    use = step.use
    monkeypatch.setattr(step, "use", lambda name: (current.update(device=name), use(name)))
    right = getattr(gpu_steps, f"{way}_layer")

    def wrong(net: Any, index: int) -> None:
        right(net, index)
        if current["device"] == "gpu" and net.layers[index].type == "Convolution":
            blob = net._blobs[(net._top_ids if way == "forward" else net._bottom_ids)(index)[0]]
            (blob.data if way == "forward" else blob.diff)[...] *= 1.01

    monkeypatch.setattr(gpu_steps, f"{way}_layer", wrong)
    report = gpu_steps.layers(step)
    assert report["failed"].startswith(f"differ between GPU and CPU: Convolution {way} (0.01")
    assert report["largest_differences"]["InnerProduct"] == {"forward": 0.0, "backward": 0.0}


def test_a_step_that_takes_too_long_is_stopped_with_all_it_started(tmp_path: Path) -> None:
    number = tmp_path / "number"
    script = 'sleep 600 & echo $! >"$1.partial"; mv "$1.partial" "$1"; wait'
    status, _ = gpu._run(["sh", "-c", script, "sh", str(number)], 10)
    assert status is None
    wait_until_gone([number.read_text().strip()])


def test_verdicts() -> None:
    lines = "\n".join(map(str, range(100)))
    assert gpu._verdict({"a": 1}, 0, lines) == {"verdict": "passed", "a": 1}
    failed = gpu._verdict({"failed": "why", "a": 1}, 1, lines)
    assert (
        failed["verdict"] == "failed" and failed["reason"] == "why" and failed["output"][-1] == "99"
    )
    assert gpu._verdict({}, -11, "")["reason"] == "it ended with -11"
    assert gpu._verdict({}, None, "")["verdict"] == "timed out"


def test_reading_gtest() -> None:
    text = (
        "[  SKIPPED ] A/1, where TypeParam = caffe::GPUDevice<float>, 7 tests: no GPU\n"
        "[       OK ] B/0.TestForward (1 ms)\n[  FAILED  ] B/0.TestBackward, where TypeParam = x (2 ms)\n"
        "[  PASSED  ] 1 test.\n[  FAILED  ] 1 test, listed below:\n[  FAILED  ] B/0.TestBackward, where\n"
    )
    assert gpu.read_gtest(text) == {
        "passed": 1,
        "failed_tests": ["B/0.TestBackward"],
        "skipped_cases": 1,
    }


def test_reading_ncu() -> None:
    """Two launches of one kernel, in the long form of ``ncu --csv``: a line for each metric."""
    name = "void caffe::ParallelForKernel<caffe::GatherHypercolumn<float>>(int, T1)"
    rows = [
        f'"{launch}","{name}","{metric}","{unit}","{value}"'
        for launch, nanoseconds in ((0, "1,200"), (1, "800"))
        for metric, unit, value in (
            ("gpu__time_duration.sum", "nsecond", nanoseconds),
            ("dram__bytes.sum", "byte", "4,096"),
        )
    ]
    header = '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"'
    text = "\n".join(["==PROF== Connected to process 7", header, *rows, "==PROF== Disconnected"])
    assert gpu_steps.read_ncu(text) == {
        "GatherHypercolumn<float>": {
            "launches": 2,
            "gpu__time_duration.sum [nsecond]": 2000.0,
            "dram__bytes.sum [byte]": 8192.0,
        }
    }
    assert gpu_steps.read_ncu("==ERROR== no counters") == {}


def test_a_build_for_the_cpu_is_named() -> None:
    library = SimpleNamespace(
        _caffe=SimpleNamespace(__file__=gpu_steps.import_caffe()._caffe.__file__)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_steps, "import_caffe", lambda: library)
        if hasattr(gpu_steps.ctypes.CDLL(library._caffe.__file__), "cudaGetDeviceCount"):
            pytest.skip("this Caffe is built with CUDA")
        with pytest.raises(gpu_steps.GpuError, match="built for the CPU only"):
            gpu_steps.Cuda()
