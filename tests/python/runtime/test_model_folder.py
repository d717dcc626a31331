"""Manifests: round trip, and one clear line for each way one can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autocolor.core.variants import VARIANTS
from autocolor.nets.colorization import ColorizationNet
from autocolor.runtime.model_folder import Manifest, ModelError

MANIFEST = Manifest(
    "demo",
    "lab_joint",
    "data..fc7",
    bins=16,
    stride=8,
    working_side=200,
    strength=1.25,
    scales=[1.0, 0.5],
)


def test_round_trip(tmp_path: Path) -> None:
    MANIFEST.save(tmp_path)
    assert Manifest.load(tmp_path) == MANIFEST


def test_file_is_as_documented(tmp_path: Path) -> None:
    Manifest("demo").save(tmp_path)
    assert json.loads((tmp_path / "model.json").read_text()) == {
        "format": 1,
        "name": "demo",
        "variant": "hue_chroma",
        "levels": "",
        "bins": 32,
        "deploy": "deploy.prototxt",
        "weights": "weights.caffemodel",
        "stride": 4,
        "working_side": 256,
        "maximum_side": 1024,
        "strength": 1.0,
        "scales": [1.0],
        "grey_textures": False,
    }


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 2, "format: expected 1, got 2"),
        (
            "variant",
            "lab",
            "variant: expected one of hue_chroma, lab_marginal, lab_joint, lab_l2, got 'lab'",
        ),
        (
            "variant",
            ["lab_l2"],
            "variant: expected one of hue_chroma, lab_marginal, lab_joint, lab_l2, got ['lab_l2']",
        ),
        ("levels", None, "levels: expected a string, got None"),
        ("bins", 1, "bins: expected at least 2 of a and b, got 1"),
        ("bins", "32", "bins: expected a positive integer, got '32'"),
        ("bins", True, "bins: expected a positive integer, got True"),
        ("stride", 0, "stride: expected a positive integer, got 0"),
        ("stride", 5, "stride: expected a divisor of 32, got 5"),
        ("strength", -1, "strength: expected a finite number >= 0, got -1"),
        ("strength", None, "strength: expected a finite number >= 0, got None"),
        ("weights", "", "weights: expected a string, got ''"),
        ("scales", [], "scales: expected 1 and numbers in (0, 1), got []"),
        ("scales", 0.5, "scales: expected 1 and numbers in (0, 1), got 0.5"),
        ("scales", [0.5, 1.0], "scales: expected 1 and numbers in (0, 1), got [0.5, 1.0]"),
        ("scales", [1.0, 2.0], "scales: expected 1 and numbers in (0, 1), got [1.0, 2.0]"),
        ("scales", [1.0, "half"], "scales: expected 1 and numbers in (0, 1), got [1.0, 'half']"),
        ("grey_textures", 1, "grey_textures: expected false of lab_joint, got 1"),
        ("grey_textures", True, "grey_textures: expected false of lab_joint, got True"),
        ("colour", 1, "keys missing: none; keys unknown: colour"),
    ],
)
def test_wrong_values(tmp_path: Path, key: str, value: Any, message: str) -> None:
    MANIFEST.save(tmp_path)
    path = tmp_path / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(ModelError) as caught:
        Manifest.load(tmp_path)
    assert str(caught.value) == f"{path}: {message}"


def test_manifest_before_there_were_variants(tmp_path: Path) -> None:
    old = {
        "format": 1,
        "color_space": "hue_chroma",
        "name": "old",
        "bins": 16,
        "deploy": "deploy.prototxt",
        "weights": "weights.caffemodel",
        "stride": 4,
        "working_side": 256,
        "maximum_side": 1024,
        "strength": 0.4,
    }
    (tmp_path / "model.json").write_text(json.dumps(old))
    assert Manifest.load(tmp_path) == Manifest("old", "hue_chroma", "", bins=16, strength=0.4)
    (tmp_path / "model.json").write_text(json.dumps({**old, "color_space": "lab"}))
    with pytest.raises(ModelError, match="color_space: expected 'hue_chroma', got 'lab'"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("bins", [8, 32])
@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_are_those_of_the_networks(variant: str, bins: int) -> None:
    heads = ColorizationNet(variant, bins=bins).heads
    expected = [(head.output, head.channels) for head in heads]
    assert list(Manifest("m", variant, bins=bins).outputs.items()) == expected


def test_missing_keys(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"format": 1, "color_space": "hue_chroma", "bins": 3}')
    with pytest.raises(ModelError, match="keys missing: deploy, maximum_side, name"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00"])
def test_no_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.json: not a JSON file"):
        Manifest.load(tmp_path)


def test_other_json(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("[1]")
    with pytest.raises(ModelError, match="expected an object, got list"):
        Manifest.load(tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="none: no such model folder"):
        Manifest.load(tmp_path / "none")
    with pytest.raises(ModelError, match=r"model\.json: no such file"):
        Manifest.load(tmp_path)
