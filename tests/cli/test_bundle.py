"""The bundle runs in a root folder that has nothing but glibc and a shell."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.programs import ROOT, run, run_tool

_GLIBC = [
    f"lib{name}" for name in ("c.so.6", "m.so.6", "dl.so.2", "pthread.so.0", "rt.so.1", "util.so.1")
]
_NET = """
layer { name: "data" type: "DummyData" top: "data" top: "locations" dummy_data_param {
  data_filler { type: "gaussian" } data_filler { type: "uniform" max: 15 }
  shape { dim: 2 dim: 3 dim: 16 dim: 16 } shape { dim: 2 dim: 5 dim: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "hypercolumn" type: "SparseHypercolumn" bottom: "locations" bottom: "data" bottom: "conv"
        top: "hypercolumn" sparse_hypercolumn_param { scale: 1 scale: 1 } }
layer { name: "fc" type: "InnerProduct" bottom: "hypercolumn" top: "fc"
        inner_product_param { num_output: 1 weight_filler { type: "xavier" } } }
layer { name: "zero" type: "DummyData" top: "zero" dummy_data_param { shape { dim: 10 dim: 1 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "fc" bottom: "zero" top: "loss" }
"""
_ONE_LAYER = """
import caffe, numpy as np
net = caffe.Net("/work/net.prototxt", caffe.TRAIN)
net.forward()
columns = net.blobs["hypercolumn"].data
assert columns.shape == (10, 7) and np.isfinite(columns).all() and columns.any()
print("one layer", caffe.__file__)
"""


def _unshare() -> list[str]:
    return ["unshare", "--map-root-user", "--mount", "--fork"]


Inside = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Inside:
    """Return what runs programs of a fresh bundle in an empty root; /work there is a folder here."""
    if subprocess.run([*_unshare(), "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("namespaces cannot be made here: `unshare --map-root-user --mount` fails")
    root = tmp_path_factory.mktemp("root")
    run_tool("tools/release/bundle.py", "--no-model", root / "bundle")
    for folder in ("bin", "lib64", "lib/x86_64-linux-gnu", "proc", "dev", "tmp", "work"):
        (root / folder).mkdir(parents=True)
    shutil.copy("/bin/dash", root / "bin" / "sh")
    shutil.copy("/lib64/ld-linux-x86-64.so.2", root / "lib64")
    for name in _GLIBC:
        shutil.copy(Path("/lib/x86_64-linux-gnu") / name, root / "lib/x86_64-linux-gnu")
    script = (
        'root=$1; shift; mount --rbind /proc "$root/proc"; touch "$root/dev/null";'
        ' mount --bind /dev/null "$root/dev/null"; exec env -i HOME=/work OMP_NUM_THREADS=1'
        ' OPENBLAS_NUM_THREADS=1 /usr/sbin/chroot "$root" "$@"'
    )

    def in_root(*command: object, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        return run(
            *_unshare(), "sh", "-c", script, "sh", root, *command, status=status, timeout=1800
        )

    in_root.root = root  # type: ignore[attr-defined]
    return in_root


def _root(inside: Inside) -> Path:
    root: Path = inside.root  # type: ignore[attr-defined]
    return root


@pytest.mark.slow
def test_the_root_is_empty(inside: Inside) -> None:
    """A Debian program that needs more than glibc does not run there, so ours are not helped."""
    root = _root(inside)
    shutil.copy(ROOT / "build" / "bin" / "caffe", root / "work" / "caffe")
    assert "cannot open shared object file" in inside("/work/caffe", status=None).stderr


@pytest.mark.slow
def test_unit_tests_and_training(inside: Inside) -> None:
    tests = inside("/bundle/bin/autocolor_tests", "--gtest_filter=*Tap*:*ColorSpace*:*onventions*")
    assert "[  PASSED  ]" in tests.stdout
    work = _root(inside) / "work"
    (work / "net.prototxt").write_text(_NET)
    (work / "solver.prototxt").write_text(
        'train_net: "/work/net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 5 display: 1'
        ' snapshot_prefix: "/work/tiny" solver_mode: CPU\n'
    )
    trained = inside("/bundle/bin/caffe", "train", "-solver", "/work/solver.prototxt")
    assert (
        re.search(r"Iteration 4 .*loss = ", trained.stderr)
        and (work / "tiny_iter_5.caffemodel").is_file()
    )
    one = inside("/bundle/bin/python", "-c", _ONE_LAYER)
    assert "one layer /bundle/python/caffe/__init__.py" in one.stdout


@pytest.mark.slow
def test_autocolor(inside: Inside, model_folder: Path, photo_folder: Path) -> None:
    work = _root(inside) / "work"
    shutil.copytree(model_folder, work / "model")
    shutil.copytree(photo_folder, work / "photos")
    inside("/bundle/bin/autocolor", "--model", "/work/model", "/work/photos", "-o", "/work/out")
    results = sorted((work / "out").iterdir())
    assert [path.name for path in results] == ["astronaut.png", "chelsea.png", "coffee.png"]
    run("autocolor", "--model", model_folder, photo_folder, "-o", work / "here")
    for path in results:
        ours, theirs = (
            np.asarray(Image.open(one), int) for one in (path, work / "here" / path.name)
        )
        # Environment variables that choose OpenBLAS's kernels are not passed on: sums are rounded differently.
        assert np.abs(ours - theirs).max() <= 1, path
    film = inside("/bundle/bin/autocolor", "--model", "/work/model", "/work/film.mp4", status=1)
    assert "Traceback" not in film.stderr


@pytest.mark.slow
def test_gpu_check_rehearses_without_a_gpu(inside: Inside) -> None:
    done = inside(
        "/bundle/bin/gpu_check",
        "/work/gpu",
        "--quick",
        "--only",
        "train",
        "--only",
        "tests",
        status=1,
    )
    assert done.stderr == "gpu: error: no GPU was checked\n"
    results = json.loads((_root(inside) / "work" / "gpu" / "gpu.json").read_text())
    assert {step["verdict"] for step in results["steps"].values()} == {"passed"}


@pytest.mark.slow
def test_what_is_in_it(inside: Inside) -> None:
    bundle = _root(inside) / "bundle"
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert manifest["cuda"] == [] and not manifest["has_model"]
    assert not list(bundle.rglob("weights.npz"))
    readme = (bundle / "README.txt").read_text()
    assert "@" not in readme and manifest["commit"] in readme
    assert (bundle / "licences" / "libdnnl2.txt").is_file()
    where = os.fsencode(ROOT)
    for path in bundle.glob("bin/*"):
        assert path.stat().st_mode & stat.S_IXUSR
        assert where not in path.read_bytes()


@pytest.fixture
def cuda_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle whose only program says where the loader would look for CUDA's libraries."""
    monkeypatch.syspath_prepend(ROOT / "tools" / "release")
    from bundle import launcher

    for folder in ("bin", "libexec"):
        (tmp_path / "bundle" / folder).mkdir(parents=True)
    program = tmp_path / "bundle" / "bin" / "caffe"
    program.write_text(launcher("caffe", ["libcudart.so.99", "libcublas.so.99"]))
    program.chmod(0o755)
    binary = tmp_path / "bundle" / "libexec" / "caffe"
    binary.write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH" "$@"\n')
    binary.chmod(0o755)
    return program


@pytest.mark.parametrize("programs", ["/usr/bin:/bin", "/nowhere"])
def test_the_launcher_says_which_of_cuda_it_does_not_find(
    cuda_bundle: Path, tmp_path: Path, programs: str
) -> None:
    """Also on a machine that has no programs but the shell."""
    (tmp_path / "libcudart.so.99").touch()
    done = run(
        cuda_bundle,
        "train",
        env={"AUTOCOLOR_CUDA": str(tmp_path), "PATH": programs},
        status=1,
    )
    assert done.stdout == ""
    assert done.stderr.startswith("caffe: error: CUDA's libraries are not found: libcublas.so.99. ")


def test_the_launcher_finds_cuda_in_python_s_packages(cuda_bundle: Path, tmp_path: Path) -> None:
    """As PyTorch brings it, and from another folder through a link."""
    packages = (
        tmp_path / "my env" / "lib" / "python3.12" / "site-packages" / "nvidia" / "cu99" / "lib"
    )
    packages.mkdir(parents=True)
    for name in ("libcudart.so.99", "libcublas.so.99"):
        (packages / name).touch()
    link = tmp_path / "linked"
    link.symlink_to(cuda_bundle)
    environment = {
        "VIRTUAL_ENV": str(tmp_path / "my env"),
        "PATH": "/usr/bin:/bin",
        "LD_LIBRARY_PATH": "/other",
    }
    done = run(link, "train", "two words", env=environment)
    assert done.stdout == f"/other:{packages} train two words\n"


def test_wrong_arguments(tmp_path: Path) -> None:
    there = run_tool("tools/release/bundle.py", tmp_path, status=2)
    assert f"{tmp_path}: expected a new folder, .tar.xz or .tar.zst" in there.stderr
    jobs = run_tool("tools/release/bundle.py", tmp_path / "new", "--jobs", "0", status=2)
    assert "--jobs: expected at least 1, got 0" in jobs.stderr
