"""docs/classifier.md: from folders of classes to a grey classifier, and from it to a colorizer."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import caffe
import numpy as np
import pytest
from PIL import Image

from helpers.programs import ROOT, run_tool

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "classifier.md").read_text(encoding="utf-8")
CLASSES = {"bright": 230, "dark": 20, "middle": 120}
SLIM = ("--width", 1 / 16)


def write_classes(folder: Path, count: int) -> None:
    """Write noise around a grey of its own for each class: one look at the mean tells them apart."""
    rng = np.random.default_rng(0)
    for name, level in CLASSES.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            noise = np.clip(rng.normal(level, 15, (32, 32)), 0, 255).astype(np.uint8)
            image = Image.fromarray(noise).resize((240, 224), Image.Resampling.NEAREST)
            image.save(folder / name / f"{index}.png")


def write_start(deploy: Path, path: Path) -> None:
    """Write weights to start from, for want of VGG-16's so narrow: Xavier's, scaled for ReLUs.

    Without the factor each of the 16 layers would halve the variance (He et al., 2015).
    """
    caffe.set_random_seed(0)  # else the clock seeds the fillers, and some starts learn nothing
    net = caffe.Net(str(deploy), caffe.TEST)
    for weight, _ in net.params.values():
        weight.data[...] *= np.sqrt(2)
    net.save(str(path))


def commands() -> list[list[str]]:
    """Return the page's commands for one's own classes, as words."""
    block = PAGE.partition("## Other classes")[2].split("```")[1]
    return [line.split() for line in block.replace("\\\n", " ").strip().splitlines()]


def test_the_pages_commands_learn_classes(tmp_path: Path) -> None:
    write_classes(tmp_path / "my_classes", 20)
    build, _, generate, train = (
        [re.sub(r"^(build/classes|my_classes)", rf"{tmp_path}/\1", word) for word in words[1:]]
        for words in commands()
    )
    run_tool(*build)
    classes = (tmp_path / "build/classes/train_lmdb.classes.txt").read_text().split()
    assert classes == sorted(CLASSES)

    # From scratch and slim, as convolutions of the real width would take minutes.
    generate.remove("--frozen")
    for option, value in (("--classes", "3"), ("--batch", "6"), ("--iterations", "200")):
        generate[generate.index(option) + 1] = value
    run_tool(*generate, *SLIM)
    net = tmp_path / "build/classes/net"
    weights = train[train.index("--weights") + 1]
    write_start(net / "deploy.prototxt", Path(weights))
    run_tool(*train)
    with (net / "snapshot_log.csv").open() as stream:
        tests = [row for row in csv.DictReader(stream) if row["phase"] == "test"]
    assert float(tests[-1]["accuracy_top1"]) > 0.9
    assert "accuracy_top5" not in tests[-1]  # of three classes

    # What it has learnt starts a colorizer.
    run_tool("tools/generate_prototxt.py", "--out", tmp_path / "color", *SLIM)
    done = run_tool(
        "tools/convert_weights.py",
        "transplant",
        "--partial",
        "--from",
        net / "snapshot_iter_200.caffemodel",
        "--net",
        tmp_path / "color/deploy.prototxt",
        "--out",
        tmp_path / "start.caffemodel",
    )
    assert "13 layers" in done.stdout  # all of conv1_1 to conv5_3
