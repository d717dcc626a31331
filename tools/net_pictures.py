"""Draw nets small enough for a page: a box for each block of VGG-16, one for each layer beside it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, cast

import pydot
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from model_costs import PICTURES

from autocolor.nets.catalogue import Model

_IN_THEIR_BLOB = {"ReLU", "Dropout"}
# As pycaffe's draw has them, paler: the text on them is dark.
_COLOURS = {
    "Convolution": "#ffd9d9",
    "InnerProduct": "#f0d9ff",
    "HypercolumnTap": "#fff0c2",
    "SparseHypercolumn": "#fff0c2",
    "HypercolumnInnerProduct": "#fff0c2",
}
# All boxes have one size: otherwise the fonts of a machine would decide it, and --check would fail.
_BOX: dict[str, Any] = {
    "shape": "box",
    "style": "filled",
    "fixedsize": "true",
    "width": "2.3",
    "height": "0.45",
    "fontname": "sans-serif",
    "fontsize": "11",
    "color": "#777777",
}


def _block_of(layer: caffe_pb2.LayerParameter, blocks: dict[str, str]) -> str:
    """Return the name of the box that a layer belongs to; `blocks` knows it of each blob so far."""
    if layer.type in _IN_THEIR_BLOB:
        return blocks[layer.bottom[0]]
    if layer.type == "HypercolumnTap":
        return "hypercolumn"
    vgg16 = re.fullmatch(r"(?:conv|pool)(\d)(?:_\d)?", layer.name)
    return f"conv{vgg16[1]}" if vgg16 else layer.name


def _label(name: str, layers: Iterable[caffe_pb2.LayerParameter]) -> str:
    types = Counter(layer.type for layer in layers if layer.type not in _IN_THEIR_BLOB)
    if name == "hypercolumn" and "HypercolumnTap" in types:
        del types["DummyData"]  # the blob that the taps fill
    words = [f"{count} × {kind}" if count > 1 else kind for kind, count in types.items()]
    return f"{name}\n{', '.join(words)}"


def net_picture(net: caffe_pb2.NetParameter) -> str:
    """Return an SVG of a net.

    The layers of a block of VGG-16 share a box, ReLU and dropout are in that of their layer, and all
    taps of a hypercolumn are one. An arrow is a blob, or several between the same boxes.

    Parameters
    ----------
    net : NetParameter
        Of :mod:`autocolor.nets`, layers in order.
    """
    boxes: dict[str, list[caffe_pb2.LayerParameter]] = {}
    blocks: dict[str, str] = {}
    arrows: dict[tuple[str, str], None] = {}  # a set that keeps its order
    for layer in net.layer:
        block = _block_of(layer, blocks)
        boxes.setdefault(block, []).append(layer)
        arrows.update(((blocks[bottom], block), None) for bottom in layer.bottom)
        for top in layer.top:
            if layer.type != "HypercolumnTap" or top not in layer.bottom:  # it hands levels on
                blocks[top] = block
    graph = pydot.Dot("net", graph_type="digraph", nodesep="0.15", ranksep="0.22")
    for name, layers in boxes.items():
        colour = next((_COLOURS[x.type] for x in layers[::-1] if x.type in _COLOURS), "#e8eef7")
        graph.add_node(pydot.Node(name, label=_label(name, layers), fillcolor=colour, **_BOX))
    for start, end in arrows:
        if start != end:
            graph.add_edge(pydot.Edge(start, end, arrowsize="0.6", color="#555555"))
    drawn = cast(bytes, graph.create(format="svg", encoding="utf-8"))  # its annotation says str
    return drawn.decode("utf-8")


def pictures(models: Mapping[str, Model]) -> dict[str, str]:
    """Return the SVGs that ``prototxt/README.md`` shows, by their names."""
    texts = {}
    for name, (model, phase, _) in PICTURES.items():
        net = text_format.Parse(
            models[model].files()[f"{phase}.prototxt"], caffe_pb2.NetParameter()
        )
        texts[name] = net_picture(net)
    return texts
