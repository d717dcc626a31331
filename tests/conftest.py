"""Fixtures of several test files: real photos and a tiny model that real Caffe runs."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from autocolor.imaging.images import resize, write_image
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.runtime.model_folder import Manifest

TINY_STRIDE = 4

# A shell that starts the tests in the background has SIGINT ignored, and so would the programs that
# the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_LOCK = Path(__file__)
_QUEUE = _LOCK.parents[1] / "pyproject.toml"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let no test run beside one that is marked alone, where pytest has several processes.

    Every test has a share of one lock, and one that is alone the whole of it. All get there through
    another, so that the one that waits for the whole is not overtaken. The programs that it starts may
    have a thread a core.
    """
    # The only process need not wait, and one that a test runs would wait for its own test.
    if not hasattr(item.config, "workerinput"):
        return (yield)
    alone = item.get_closest_marker("alone") is not None
    with _QUEUE.open() as queue, _LOCK.open() as lock:
        fcntl.flock(queue, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        threads = os.environ.pop("OMP_NUM_THREADS", None) if alone else None
        try:
            return (yield)
        finally:
            if threads is not None:
                os.environ["OMP_NUM_THREADS"] = threads
            # By word, as a child that a test has left may have the file as well.
            fcntl.flock(lock, fcntl.LOCK_UN)


# One convolution and a softmax for each histogram; kernel = stride puts cell (j, i) at pixel
# (4 j + 1.5, 4 i + 1.5), as in the real networks.
_HEAD = """
layer {{ name: "prediction_{head}" type: "Convolution" bottom: "data" top: "prediction_{head}"
         convolution_param {{ num_output: {bins} kernel_size: 4 stride: 4 }} }}
layer {{ name: "{head}" type: "Softmax" bottom: "prediction_{head}" top: "{head}" }}
"""
_INPUT = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 1 dim: 32 dim: 32 } } }
"""


def tiny_deploy(bins: int) -> str:
    """Return the prototxt of the tiny network."""
    return _INPUT + _HEAD.format(head="hue", bins=bins) + _HEAD.format(head="chroma", bins=bins)


@pytest.fixture(scope="session")
def make_model() -> Callable[[Path], Path]:
    """Return a function that fills a folder with a tiny model of fixed random weights."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        manifest = Manifest("tiny", stride=TINY_STRIDE, working_side=64, maximum_side=256)
        deploy = folder / manifest.deploy
        deploy.write_text(tiny_deploy(manifest.bins), encoding="utf-8")
        caffe = import_caffe()
        net = caffe.Net(str(deploy), caffe.TEST)
        rng = np.random.default_rng(0)
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] = rng.normal(size=blob.data.shape)
        net.save(str(folder / manifest.weights))
        manifest.save(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def model_folder(
    make_model: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a tiny model; tests must not change it."""
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three small real photos; tests must not change it."""
    folder = tmp_path_factory.mktemp("photos")
    for name, pixels, size in (
        ("astronaut.png", skimage.data.astronaut(), (96, 96)),
        ("chelsea.jpg", skimage.data.chelsea(), (80, 120)),
        ("coffee.png", skimage.data.coffee(), (60, 90)),
    ):
        write_image(folder / name, resize(pixels.astype(np.float32) / 255, size))
    return folder
