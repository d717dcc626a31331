"""Training nets with taps against the same nets with one SparseHypercolumn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe import NetSpec
from caffe import layers as L
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from autocolor.nets.hypercolumn_taps import use_taps
from autocolor.nets.vgg16 import add_vgg16, geometry, vgg16_levels
from autocolor.runtime.caffe_runtime import import_caffe

WIDTH, IMAGES, LOCATIONS = 1 / 16, 2, 24


def _net(levels: str, side: int = 32) -> caffe_pb2.NetParameter:
    net = NetSpec()
    net.data = L.Input(shape=dict(dim=[IMAGES, 1, side, side]))
    net.locations = L.Input(shape=dict(dim=[IMAGES, LOCATIONS, 2]))
    chosen = vgg16_levels(levels, WIDTH)
    add_vgg16(net, net.data, chosen[-1].name, width=WIDTH, dropout=0.5)
    net.hypercolumn = L.SparseHypercolumn(
        net.locations,
        *(net[level.name] for level in chosen),
        sparse_hypercolumn_param=geometry(chosen),
    )
    net.output = L.InnerProduct(
        net.hypercolumn, num_output=3, weight_filler=dict(type="gaussian", std=0.1)
    )
    net.loss = L.Reduction(net.output, operation=3, loss_weight=1)  # sum of squares
    result: caffe_pb2.NetParameter = net.to_proto()
    return result


def _with_taps(levels: str) -> caffe_pb2.NetParameter:
    channels = [level.channels for level in vgg16_levels(levels, WIDTH)]
    return use_taps(_net(levels), "hypercolumn", IMAGES * LOCATIONS, channels)


def _load(folder: Path, net: Any) -> Any:
    caffe = import_caffe()
    path = folder / "net.prototxt"
    path.write_text(str(net), encoding="utf-8")
    caffe.set_random_seed(1)
    return caffe.Net(str(path), caffe.TRAIN)


@pytest.mark.parametrize("levels", ["data..fc7", "conv2_2..conv3_1", "fc6..fc7", "conv1_1"])
def test_same_outputs_and_gradients(levels: str, tmp_path: Path) -> None:
    whole, taps = _load(tmp_path, _net(levels)), _load(tmp_path, _with_taps(levels))
    rng = np.random.default_rng(0)
    for name, blobs in whole.params.items():
        for blob, other in zip(blobs, taps.params[name], strict=True):
            blob.data[...] = other.data[...] = rng.normal(0, 0.15, blob.data.shape)
    image = rng.random((IMAGES, 1, 32, 32), dtype=np.float32)
    locations = rng.uniform(-1, 33, (IMAGES, LOCATIONS, 2))
    read = {}
    for step in range(2):  # the second time over the gradients of the first
        for net in (whole, taps):
            net.blobs["data"].data[...] = image + step
            net.blobs["locations"].data[...] = locations
            import_caffe().set_random_seed(7)  # of the dropout
            net.clear_param_diffs()
            net.forward()
            read[net] = net.blobs["hypercolumn"].data.copy()  # its gradient takes its place
            net.backward()
        np.testing.assert_array_equal(read[taps], read[whole])
        for name, blobs in whole.params.items():
            for blob, other in zip(blobs, taps.params[name], strict=True):
                # The sums have another order.
                scale = np.abs(blob.diff).max()
                assert scale > 0
                np.testing.assert_allclose(other.diff, blob.diff, atol=1e-4 * scale)


def test_the_gradient_of_the_hypercolumns_takes_their_memory(tmp_path: Path) -> None:
    taps = _load(tmp_path, _with_taps("data..conv1_2"))
    blob = taps.blobs["hypercolumn"]
    assert blob.data.ctypes.data == blob.diff.ctypes.data
    net = _net("data..conv1_2")
    net.layer.add(name="other", type="Sigmoid", bottom=["hypercolumn"], top=["other"])
    channels = [level.channels for level in vgg16_levels("data..conv1_2", WIDTH)]
    whole = use_taps(net, "hypercolumn", IMAGES * LOCATIONS, channels)
    assert not any(layer.sparse_hypercolumn_param.share_gradient for layer in whole.layer)


class Graph:
    """A net of maps of one size, which layers are added to; what nothing reads leads to no loss."""

    def __init__(self) -> None:
        self.layers = [
            'force_backward: false layer { name: "data" type: "Input" top: "data" '
            "input_param { shape { dim: 2 dim: 3 dim: 5 dim: 5 } } }",
            'layer { name: "locations" type: "Input" top: "locations" '
            "input_param { shape { dim: 2 dim: 7 dim: 2 } } }",
        ]

    def add(
        self, kind: str, *bottoms: str, in_place: bool = False, tops: int = 1, more: str = ""
    ) -> str:
        name = f"layer{len(self.layers)}"
        top = bottoms[0] if in_place else name
        words = "".join(f' bottom: "{bottom}"' for bottom in bottoms)
        words += f' top: "{top}"' * tops
        self.layers.append(f'layer {{ name: "{name}" type: "{kind}"{words} {more} }}')
        return top

    def convolution(self, bottom: str, more: str = "") -> str:
        filler = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "gaussian" }'
        return self.add(
            "Convolution",
            bottom,
            more=f"convolution_param {{ num_output: 3 kernel_size: 1 {filler} }} {more}",
        )

    def loss(self, bottom: str, more: str = "") -> str:
        return self.add(
            "Reduction",
            bottom,
            more=f"reduction_param {{ operation: SUMSQ }} loss_weight: 1 {more}",
        )

    def hypercolumn(self, *levels: str) -> str:
        bottoms = "".join(f' bottom: "{level}"' for level in ("locations", *levels))
        self.layers.append(
            f'layer {{ name: "columns" type: "SparseHypercolumn"{bottoms} top: "columns" }}'
        )
        return "columns"

    def nets(self) -> tuple[caffe_pb2.NetParameter, caffe_pb2.NetParameter]:
        """The net as it is, and with taps."""
        whole = text_format.Parse("\n".join(self.layers), caffe_pb2.NetParameter())
        (layer,) = (layer for layer in whole.layer if layer.name == "columns")
        levels = len(layer.bottom) - 1
        return whole, use_taps(whole, "columns", 2 * 7, [3] * levels)


def assert_same_gradients(graph: Graph, folder: Path) -> float:
    """Compare the two nets of a graph; returns the largest gradient."""
    whole, taps = (_load(folder, net) for net in graph.nets())
    rng = np.random.default_rng(0)
    for name, blobs in whole.params.items():
        for blob, other in zip(blobs, taps.params[name], strict=True):
            other.data[...] = blob.data
    scale = 0.0
    for _ in range(2):  # the second time over the gradients of the first
        image = rng.normal(size=(2, 3, 5, 5))
        locations = rng.uniform(-1, 6, (2, 7, 2))
        for net in (whole, taps):
            net.blobs["data"].data[...] = image
            net.blobs["locations"].data[...] = locations
            net.clear_param_diffs()
            net.forward()
            net.backward()
        expected = [blob.diff.copy() for blobs in whole.params.values() for blob in blobs]
        got = [taps.params[name][index].diff for name in whole.params for index in (0, 1)]
        scale = max([scale, *(float(np.abs(diff).max()) for diff in expected)])
        for diff, other in zip(expected, got, strict=True):
            # Sums in another order.
            np.testing.assert_allclose(other, diff, atol=1e-4 * max(scale, 1e-3))
    return scale


def _no_reader(graph: Graph, level: str) -> None:
    pass


def _silence(graph: Graph, level: str) -> None:
    graph.add("Silence", level, tops=0)


def _dead_convolution(graph: Graph, level: str) -> None:
    graph.convolution(graph.convolution(level))


def _stopped_convolution(graph: Graph, level: str) -> None:
    graph.loss(graph.convolution(level, "propagate_down: false"))


def _loss_of_another_phase(graph: Graph, level: str) -> None:
    graph.loss(graph.convolution(level), "include { phase: TEST }")


def _size_of_a_crop(graph: Graph, level: str) -> None:
    learned = graph.convolution("data")
    graph.loss(graph.add("Crop", learned, level, more="crop_param { axis: 2 }"))


def _loss_without_weight(graph: Graph, level: str) -> None:
    graph.add("EuclideanLoss", level, "data", more="loss_weight: 0")


def _live_beside_dead(graph: Graph, level: str) -> None:
    graph.loss(graph.convolution(level))
    graph.add("Silence", level, tops=0)


@pytest.mark.parametrize(
    "read",
    [
        _no_reader,
        _silence,
        _dead_convolution,
        _stopped_convolution,
        _loss_of_another_phase,
        _size_of_a_crop,
        _loss_without_weight,
        _live_beside_dead,
    ],
)
@pytest.mark.parametrize("after", [True, False])
def test_a_level_that_others_read(read: Any, after: bool, tmp_path: Path) -> None:
    graph = Graph()
    level = graph.add("Sigmoid", graph.convolution("data"), in_place=True)
    if not after:
        read(graph, level)
    columns = graph.hypercolumn(level)
    if after:
        read(graph, level)
    graph.loss(columns)
    assert assert_same_gradients(graph, tmp_path) > 0.1


INNER = "inner_product_param { num_output: 4 weight_filler { type: 'gaussian' } }"


@pytest.mark.parametrize("reader", ["ReLU", "ReLU in place", "Sigmoid", "InnerProduct", "none"])
@pytest.mark.parametrize("is_live", [True, False])
def test_readers_of_the_hypercolumns(reader: str, is_live: bool, tmp_path: Path) -> None:
    graph = Graph()
    level = graph.convolution("data")
    columns = graph.hypercolumn(level)
    graph.loss(graph.convolution(level))
    if reader != "none":
        kind = reader.split()[0]
        more = INNER if kind == "InnerProduct" else ""
        read = graph.add(kind, columns, in_place=reader.endswith("place"), more=more)
        read = graph.add("InnerProduct", read, more=INNER)
        if is_live:
            graph.loss(read)
    assert assert_same_gradients(graph, tmp_path) > 0.1


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    graph = Graph()
    maps = [graph.convolution("data")]
    read: set[str] = set()

    def grow(count: int) -> None:
        for _ in range(count):
            bottom = str(rng.choice(maps))
            kind = rng.choice(
                ["convolution", "ReLU", "Sigmoid", "Eltwise", "Silence", "loss", "stopped", "Crop"]
            )
            if kind in ("ReLU", "Sigmoid"):
                # Caffe refuses to change in place what another layer reads as well.
                if graph.add(kind, bottom, in_place=bottom not in read) != bottom:
                    maps.append(f"layer{len(graph.layers) - 1}")
                    read.add(bottom)
                continue
            read.add(bottom)
            if kind in ("convolution", "stopped"):
                stop = "propagate_down: false" if kind == "stopped" else ""
                maps.append(graph.convolution(bottom, stop))
            elif kind == "Silence":
                graph.add("Silence", bottom, tops=0)
            elif kind == "loss":
                graph.loss(bottom)
            else:
                other = str(rng.choice(maps))
                read.add(other)
                more = "crop_param { axis: 2 }" if kind == "Crop" else ""
                maps.append(graph.add(kind, bottom, other, more=more))

    grow(4)
    levels = rng.choice(maps, min(len(maps), int(rng.integers(1, 4))), replace=False)
    columns = graph.hypercolumn(*map(str, levels))
    read.update(map(str, levels))
    grow(4)
    if rng.integers(2):
        graph.add("Silence", columns, tops=0)
    graph.loss(graph.add("InnerProduct", columns, more=INNER))
    assert assert_same_gradients(graph, tmp_path) > 0


def test_no_level_is_split() -> None:
    net = _with_taps("data..fc7")
    readers = {
        level.name: [layer for layer in net.layer if level.name in layer.bottom]
        for level in vgg16_levels("data..fc7", WIDTH)
    }
    for name, layers in readers.items():
        changing = [layer for layer in layers if name in layer.top]
        assert len(layers) - len(changing) == 1, name  # besides those in place
    # fc7 has no reader but its tap, which then does not add to anything.
    assert list(net.layer[-3].top) == ["hypercolumn"]
    assert net.layer[-3].name == "hypercolumn_fc7"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda net: net.layer.remove(net.layer[-3]),
            "expected a SparseHypercolumn layer hypercolumn, got none",
        ),
        (lambda net: net.layer[-3].bottom.append("x"), "channels: expected 4 numbers, got 3"),
        (lambda net: net.layer[-3].bottom.__setitem__(1, "x"), "no layer makes x"),
        (
            lambda net: net.layer[-3].bottom.__setitem__(1, net.layer[-3].bottom[2]),
            "layer hypercolumn: expected different levels, got conv1_1 twice",
        ),
        (lambda net: net.layer[-3].propagate_down.append(True), "expected no propagate_down"),
        (lambda net: net.layer[-3].loss_weight.append(1), "expected no loss_weight"),
        (lambda net: net.layer[-3].include.add(), "expected no include"),
    ],
)
def test_nets_that_have_no_place_for_taps(change: Any, message: str) -> None:
    net = _net("data..conv1_2")
    assert net.layer[-3].type == "SparseHypercolumn"
    change(net)
    with pytest.raises(ValueError, match=message):
        use_taps(net, "hypercolumn", IMAGES * LOCATIONS, [1, 4, 4])
