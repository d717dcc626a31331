"""A tiny colorizer in training, as prototxt text: a few hundred weights, milliseconds an iteration."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from caffe.proto import caffe_pb2

from helpers.programs import PATIENCE, ROOT, run

RECORDS = 12
SIDE = 16

# One location in three is ignored, depending on the image: the numbers of valid rows differ.
_STEADY = """
layer { name: "pool" type: "Pooling" bottom: "image" top: "pool"
        pooling_param { pool: AVE kernel_size: 8 stride: 8 } }
layer { name: "locations" type: "Reshape" bottom: "pool" top: "unit_locations"
        reshape_param { shape { dim: 0 dim: 6 dim: 2 } } }
layer { name: "scaled" type: "Power" bottom: "unit_locations" top: "locations" power_param { scale: 15 } }
layer { name: "flat" type: "Reshape" bottom: "pool" top: "flat" reshape_param { shape { dim: -1 dim: 2 } } }
layer { name: "halves" type: "Slice" bottom: "flat" top: "left" top: "right" slice_param { axis: 1 } }
layer { name: "ignored" type: "Silence" bottom: "right" }
layer { name: "threshold" type: "Threshold" bottom: "left" top: "above"
        threshold_param { threshold: 0.45 } }
layer { name: "mask" type: "Reshape" bottom: "above" top: "mask" reshape_param { shape { dim: -1 } } }
layer { name: "target" type: "ColorHistogram" bottom: "hue" bottom: "locations" top: "all_targets"
        color_histogram_param { bins: 8 } }
layer { name: "target_h" type: "Scale" bottom: "all_targets" bottom: "mask" top: "target_h"
        scale_param { axis: 0 } }
"""
_RANDOM = """
layer { name: "locations" type: "DummyData" top: "locations" dummy_data_param {
        data_filler { type: "uniform" min: -0.5 max: 11.5 } shape { dim: %d dim: 6 dim: 2 } } }
layer { name: "target_h" type: "ColorHistogram" bottom: "hue" bottom: "locations" top: "target_h"
        color_histogram_param { bins: 8 } }
"""
_NET = """
layer { name: "image" type: "Data" top: "image"
        transform_param { scale: 0.00392156862745098 TRANSFORM }
        data_param { source: "LMDB" batch_size: BATCH backend: LMDB } }
layer { name: "data" type: "ColorSpace" bottom: "image" top: "data" top: "colour"
        color_space_param { color_space: HUE_CHROMA } }
layer { name: "hue" type: "Slice" bottom: "colour" top: "hue" top: "chroma" slice_param { axis: 1 } }
LOCATIONS
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        param { lr_mult: FIXED } param { lr_mult: FIXED }
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
        param { name: "shared" } param { lr_mult: 2 decay_mult: 0 }
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "conv3" type: "Convolution" bottom: "conv2" top: "conv3"
        param { name: "shared" } param { lr_mult: 2 decay_mult: 0 }
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "hypercolumn" type: "SparseHypercolumn" bottom: "locations" bottom: "conv1" bottom: "conv3"
        top: "hypercolumn" }
DROPOUT
layer { name: "h_fc1" type: "InnerProduct" bottom: "hypercolumn" top: "h_fc1"
        inner_product_param { num_output: 16 weight_filler { type: "xavier" } } }
layer { name: "h_relu1" type: "ReLU" bottom: "h_fc1" top: "h_fc1" }
layer { name: "prediction_h" type: "InnerProduct" bottom: "h_fc1" top: "prediction_h"
        inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "prediction_c" type: "InnerProduct" bottom: "h_fc1" top: "prediction_c"
        inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "target_c" type: "ColorHistogram" bottom: "chroma" bottom: "locations" top: "target_c"
        color_histogram_param { bins: 8 } }
layer { name: "loss_h" type: "SoftmaxKLDivergenceLoss" bottom: "prediction_h" bottom: "target_h"
        top: "loss_h" loss_weight: 5 }
layer { name: "loss_c" type: "SoftmaxKLDivergenceLoss" bottom: "prediction_c" bottom: "target_c"
        top: "loss_c" loss_weight: 0.1 loss_param { normalization: NONE } }
"""
_SOLVER = {
    "base_lr": 0.02,
    "lr_policy": '"poly"',
    "power": 1.0,
    "momentum": 0.9,
    "weight_decay": 0.001,
    "max_iter": 12,
    "display": 1,
    "average_loss": 3,
    "snapshot": 0,
    "random_seed": 3,
    "type": '"SGD"',
    "solver_mode": "CPU",
}


def write_lmdb(path: Path) -> Path:
    """Write records of smooth random colours, some of them dark and some of them grey."""
    rng = np.random.default_rng(0)
    with lmdb.open(str(path), map_size=2**24) as environment, environment.begin(write=True) as out:
        for index in range(RECORDS):
            colour = rng.uniform(size=(3, 1, 1)) * np.linspace(0.2, 1, SIDE)[:, None]
            pixels = np.clip(colour + rng.normal(scale=0.05, size=(3, SIDE, SIDE)), 0, 1)
            datum = caffe_pb2.Datum(channels=3, height=SIDE, width=SIDE, label=0)
            datum.data = np.rint(255 * pixels).astype(np.uint8).tobytes()
            out.put(f"{index:08d}".encode(), datum.SerializeToString())
    return path


def net_text(source: Path, *, random: bool, batch: int = 2, fixed: bool = False) -> str:
    """Net with random crops, mirroring, locations and dropout, or without any randomness."""
    replacements = {
        "TRANSFORM": "mirror: true crop_size: 12" if random else "",
        "LMDB": str(source),
        "BATCH": str(batch),
        "LOCATIONS": _RANDOM % batch if random else _STEADY,
        "FIXED": "0" if fixed else "1",
        "DROPOUT": 'layer { name: "dropout" type: "Dropout" bottom: "hypercolumn" top: "hypercolumn" }'
        if random
        else "",
    }
    pattern = re.compile(r'(?<=")LMDB(?=")|' + r"\b(?:TRANSFORM|BATCH|LOCATIONS|FIXED|DROPOUT)\b")
    return pattern.sub(lambda match: replacements[match.group()], _NET)


def write_training(
    folder: Path,
    source: Path,
    *,
    random: bool = False,
    batch: int = 2,
    fixed: bool = False,
    test: bool = False,
    **solver: object,
) -> Path:
    """Write nets and solver into `folder`; returns the solver, which snapshots to ``folder/s``."""
    folder.mkdir(parents=True, exist_ok=True)
    net = net_text(source, random=random, batch=batch, fixed=fixed)
    (folder / "train.prototxt").write_text(net)
    lines = {"train_net": f'"{folder}/train.prototxt"', "snapshot_prefix": f'"{folder}/s"'}
    if test:
        (folder / "test.prototxt").write_text(net_text(source, random=random, batch=3))
        lines |= {"test_net": f'"{folder}/test.prototxt"', "test_iter": 4, "test_interval": 4}
    lines |= _SOLVER | solver
    path = folder / "solver.prototxt"
    path.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
    return path


# One thread: two ranks of two threads each would take turns on two cores.
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def train_command(solver: Path, *arguments: object, ranks: int = 0) -> list[str]:
    """Command line of tools/train.py, under mpirun with `ranks`."""
    mpi = ["mpirun", "-n", str(ranks)] if ranks else []
    command = [*mpi, sys.executable, ROOT / "tools/train.py", *(["--mpi"] if ranks else [])]
    return [str(word) for word in (*command, "--solver", solver, *arguments)]


def train(solver: Path, *arguments: object, ranks: int = 0, status: int = 0, **options: Any) -> str:
    """Train to the end; returns what it said on stderr."""
    command = train_command(solver, *arguments, ranks=ranks)
    return run(*command, status=status, env=ENVIRONMENT, timeout=PATIENCE, **options).stderr


def caffe_train(solver: Path, *arguments: object) -> str:
    """Train with the caffe tool; returns its log."""
    environment = {**ENVIRONMENT, "GLOG_minloglevel": "0", "GLOG_logtostderr": "1"}
    return run("caffe", "train", f"-solver={solver}", *arguments, env=environment).stderr
