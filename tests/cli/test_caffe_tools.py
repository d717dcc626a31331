"""Caffe's own tools on every generated net, smaller: caffe time, caffe test, and pycaffe's draw."""

from __future__ import annotations

import math
import os
import re
import sys
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from train_edges import write_edge_lmdbs

from autocolor.data.lmdb_io import LmdbOptions
from autocolor.data.lmdb_writer import LmdbContent, write_lmdb
from autocolor.nets.catalogue import all_models, write_files
from autocolor.runtime.caffe_runtime import import_caffe
from helpers.photo_tree import small_photo
from helpers.programs import ROOT, run

pytestmark = pytest.mark.slow

MODELS = all_models()
# One of each kind; the others differ in their levels.
KINDS = [
    "hue_chroma_data-fc7",
    "lab_l2_data-fc7",
    "lab_marginal_data-fc7",
    "lab_joint_data-fc7",
    "hue_chroma_fc7",
    "vgg16_gray_classifier",
    "edges_data-conv3_3",
]
CLASSES = 3
SIDE = 224  # the classifier takes no less
_LOGGED = os.environ | {"GLOG_logtostderr": "1", "GLOG_minloglevel": "0"}
# Every loss is about that of a guess, as no net has learnt: a bin of 32, of 16 × 16, of 2, a class. Random
# weights make it larger or, where its weight is the chroma (Eq. 2), smaller.
_MOST = 3 * math.log(256)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LMDBs of photos that have labels, and of the edges in them."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    photos = [folder / f"{number}.png" for number in range(4)]
    for path in photos:
        small_photo(rng, (256, 240)).save(path)
    labels = tuple(number % CLASSES for number in range(len(photos)))
    write_lmdb(LmdbContent(photos, LmdbOptions(256, SIDE), labels=labels), folder / "photos")
    write_edge_lmdbs(photos, folder, SIDE)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def folder(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The files of a model of prototxt/, narrower and with small batches, and initial weights."""
    model = MODELS[request.param]
    network = model.network
    known = {field.name for field in fields(network)}
    if "width" in known:
        network = replace(network, width=1 / 16)
    if "classes" in known:
        network = replace(network, classes=CLASSES)
    source = str(data if request.param.startswith("edges") else data / "photos")
    model = replace(
        model,
        network=network,
        training=replace(model.training, source=source, batch=2, crop=SIDE, locations=16),
        validation_source=source,
    )
    out = tmp_path_factory.mktemp(request.param)
    write_files(out, model.files())
    caffe = import_caffe()
    caffe.Net(str(out / "train.prototxt"), caffe.TRAIN).save(str(out / "initial.caffemodel"))
    return out


def layers_of(prototxt: Path) -> list[str]:
    from caffe.proto import caffe_pb2

    net = text_format.Parse(prototxt.read_text(encoding="utf-8"), caffe_pb2.NetParameter())
    return [layer.name for layer in net.layer]


@pytest.mark.parametrize(("file", "phase"), [("train", "TRAIN"), ("deploy", "TEST")])
def test_caffe_time(folder: Path, file: str, phase: str) -> None:
    net = folder / f"{file}.prototxt"
    done = run("caffe", "time", "-model", net, "-phase", phase, "-iterations", 2, env=_LOGGED)
    average = done.stderr.partition("Average time per layer")[2]
    for way in ("forward", "backward"):
        timed = re.findall(rf"\] +(\S+)\t{way}: [\d.e-]+ ms", average)
        assert set(layers_of(net)) <= set(timed), way
    assert re.search(r"Average Forward-Backward: [\d.]+ ms", average)


def test_caffe_test(folder: Path) -> None:
    net = folder / "test.prototxt"
    options = ("-weights", folder / "initial.caffemodel", "-iterations", 3)
    done = run("caffe", "test", "-model", net, *options, env=_LOGGED)
    average = done.stderr.rpartition("Loss: ")[2]
    scores = {name: float(value) for name, value in re.findall(r"\] (\w+) = (\S+)", average)}
    losses = [name for name in layers_of(net) if name.startswith("loss")]
    assert losses and set(losses) <= set(scores)
    assert all(0 < scores[name] < _MOST for name in losses), scores
    others = scores.keys() - set(losses)
    assert all(0 <= scores[name] <= 1 for name in others), scores  # the classifier's accuracies
    assert bool(others) == ("accuracy" in net.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", ["train", "test", "deploy"])
def test_pycaffe_draws(file: str, tmp_path: Path) -> None:
    """With Caffe's own program; -P keeps its folder, which has a caffe without a library, off the path."""
    caffe_source = run("bash", "tools/fetch_caffe.sh").stdout.strip()
    net = ROOT / "prototxt/hue_chroma_data-conv5_3" / f"{file}.prototxt"
    picture = tmp_path / "net.svg"
    run(sys.executable, "-P", f"{caffe_source}/python/draw_net.py", net, picture)
    drawn = picture.read_text(encoding="utf-8")
    assert drawn.rstrip().endswith("</svg>")
    for name in layers_of(net):
        assert f">{name}\\n(" in drawn, name


def test_pictures_of_the_page() -> None:
    """A box a block, and no arrow but a blob: what the dense colorizer's picture says."""
    drawn = (ROOT / "docs/networks/deploy.svg").read_text(encoding="utf-8")
    titles = re.findall(r"<title>(.*?)</title>", drawn)
    blocks = ["data", *(f"conv{number}" for number in range(1, 6))]
    arrows = {f"{a}&#45;&gt;{b}" for a, b in pairwise(blocks)}
    arrows |= {f"{block}&#45;&gt;h_fc1" for block in blocks}
    for head, top in (("prediction_h", "hue"), ("prediction_c", "chroma")):
        arrows |= {f"h_fc1&#45;&gt;{head}", f"{head}&#45;&gt;{top}"}
        blocks += [head, top]
    assert set(titles) == {"net", "h_fc1", *blocks, *arrows}
    assert "3 × Convolution, Pooling" in drawn
