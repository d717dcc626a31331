"""The manual of the layers, caffe_layers/README.md: complete, and its examples run."""

import re
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2

MANUAL = (Path(__file__).resolve().parents[3] / "caffe_layers/README.md").read_text(
    encoding="utf-8"
)
EXAMPLES = re.findall(r"^```\n(layer .*?)^```$", MANUAL, re.MULTILINE | re.DOTALL)
INPUTS = {
    "columns": (10, 320),
    "locations": (2, 5, 2),
    "conv1_2": (2, 64, 16, 16),
    "conv3_3": (2, 256, 4, 4),
    "weight_h": (32, 1024),
    "bias_h": (32,),
    "image": (2, 3, 16, 16),
    "ab": (2, 2, 16, 16),
    "prediction_h": (10, 32),
    "target_h": (10, 32),
    "chroma_weight": (10,),
}


def test_there_is_an_example_of_every_layer():
    types = {re.search(r'type: "(\w+)"', example)[1] for example in EXAMPLES}
    assert types == {name for name in caffe.layer_type_list() if f"\n## {name}\n" in MANUAL}
    assert len(types) == 7


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(example, tmp_path):
    inputs = [
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        + " ".join(f"dim: {length}" for length in INPUTS[name])
        + " } } }"
        for name in re.findall(r'bottom: "(\w+)"', example)
    ]
    path = tmp_path / "net.prototxt"
    path.write_text("\n".join([*inputs, example]))
    net = caffe.Net(str(path), caffe.TEST)
    net.forward()
    for top in re.findall(r'top: "(\w+)"', example):
        assert np.isfinite(net.blobs[top].data).all()


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_parameter_is_documented(example):
    layer = re.search(r'type: "(\w+)"', example)[1]
    section = re.search(rf"^## {layer}\n(.*?)(?=^## |\Z)", MANUAL, re.MULTILINE | re.DOTALL)[1]
    message = {"HypercolumnTap": "SparseHypercolumn"}.get(layer, layer)
    for field in caffe_pb2.DESCRIPTOR.message_types_by_name[f"{message}Parameter"].fields:
        assert f"`{field.name}" in section or f"{field.name}: …" in section, field.name
