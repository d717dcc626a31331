"""tools/migrate_prototxt.py as a user runs it, on nets in the form of other people's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from scipy.ndimage import map_coordinates

from helpers.programs import run_main, run_tool

TOOL = "tools/migrate_prototxt.py"

CLASSES = 3  # background, squares, discs
SIDE = 32


def convolution(name: str, bottom: str, outputs: int) -> str:
    return f"""
    layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{
      num_output: {outputs} kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }} }} }}
    layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}"""


def pooling(name: str, bottom: str) -> str:
    return f"""
    layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}"
      pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}"""


def product(name: str, bottom: str, outputs: int) -> str:
    return f"""
    layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}"
      inner_product_param {{ num_output: {outputs} weight_filler {{ type: "xavier" }} }} }}"""


BACKBONE = (
    convolution("c1", "data", 8)
    + pooling("p1", "c1")
    + convolution("c2", "p1", 16)
    + pooling("p2", "c2")
    + convolution("c3", "p2", 32)
)
SEGMENTATION = (
    f"""
name: "shapes"  # inputs as in 2015
input: "data" input_shape {{ dim: 4 dim: 1 dim: {SIDE} dim: {SIDE} }}
input: "pixels" input_shape {{ dim: 100 dim: 3 }}
input: "labels" input_shape {{ dim: 100 dim: 1 }}
{BACKBONE}
layer {{ name: "columns" type: "RandBI" bottom: "c1" bottom: "c2" bottom: "c3" bottom: "pixels"
  top: "columns" rand_comp_param {{ pad: true compression_rate: 1 compression_rate: 2
  compression_rate: 4 }} }}"""
    + product("h1", "columns", 32)
    + """
layer { name: "r1" type: "ReLU" bottom: "h1" top: "h1" }
layer { name: "d1" type: "Dropout" bottom: "h1" top: "h1" dropout_param { dropout_ratio: 0.1 } }"""
    + product("h2", "h1", 24)
    + """
layer { name: "r2" type: "ReLU" bottom: "h2" top: "h2" }"""
    + product("score", "h2", CLASSES)
    + """
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "labels" top: "loss" }"""
)


VGG = ((4, 4), (8, 8), (16, 16, 16), (32, 32, 32), (32, 32, 32))  # a sixteenth of VGG-16's channels
TAPS = {"conv1_2": 1, "conv2_2": 2, "conv3_3": 4, "conv4_3": 8, "conv5_3": 16, "fc7_conv": 224}


def pixelnet() -> str:
    """Their net for segmentation, with its layers and names: VGG-16, all of it, and three products."""
    rates = "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"
    layers, bottom = [], "data"

    def add(name: str, kind: str, settings: str = "", top: str = "") -> None:
        """Add a layer behind the last one; without a top of its own it works in place."""
        nonlocal bottom
        top = top or bottom
        layers.append(
            f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {settings} }}'
        )
        bottom = top

    def convolve(name: str, outputs: int, kernel: int, pad: int) -> None:
        settings = f"num_output: {outputs} kernel_size: {kernel} pad: {pad}"
        filler = 'weight_filler { type: "msra" }'
        add(name, "Convolution", f"{rates} convolution_param {{ {settings} {filler} }}", name)

    def drop(number: str) -> None:
        add(f"relu{number}", "ReLU")
        add(f"drop{number}", "Dropout", "dropout_param { dropout_ratio: 0.5 }")

    for block, widths in enumerate(VGG, start=1):
        for number, outputs in enumerate(widths, start=1):
            convolve(f"conv{block}_{number}", outputs, 3, 1)
            add(f"relu{block}_{number}", "ReLU")
        add(f"pool{block}", "Pooling", "pooling_param { kernel_size: 2 stride: 2 }", f"pool{block}")
    for product, kernel in (("6", 7), ("7", 1)):
        convolve(f"fc{product}_conv", 256, kernel, 0)
        drop(product)
    bottoms = "".join(f' bottom: "{name}"' for name in TAPS)
    compression = " ".join(f"compression_rate: {rate}" for rate in TAPS.values())
    layers.append(
        f'layer {{ name: "rand_concat" type: "RandBI"{bottoms} bottom: "pixels" top: "fc5" '
        f"rand_comp_param {{ pad: true {compression} }} }}"
    )
    bottom = "fc5"
    for name, top, outputs in (
        ("fc6_new", "fc6_new", 256),
        ("fc7_new", "fc7_new", 256),
        ("cls_score_new", "fc8_new", 21),
    ):
        filler = 'weight_filler { type: "xavier" }'
        add(
            name,
            "InnerProduct",
            f"{rates} inner_product_param {{ num_output: {outputs} {filler} }}",
            top,
        )
        if name != "cls_score_new":
            drop(name.removeprefix("fc"))
    layers.append(
        'layer { name: "loss_cls" type: "SoftmaxWithLoss" bottom: "fc8_new" bottom: "labels" top: "loss_cls" }'
    )
    inputs = {"data": (1, 3, 224, 224), "pixels": (1000, 3), "labels": (1000, 1)}
    heads = [
        f'input: "{name}" input_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}'
        for name, shape in inputs.items()
    ]
    return "\n".join(['name: "segmentation"', *heads, *layers])


def migrate(folder: Path, text: str, *options: str, status: int = 0) -> tuple[Path, str, str]:
    """Run the tool; returns the written path, what it printed, and its errors."""
    source = folder / "theirs.prototxt"
    source.write_text(text, encoding="utf-8")
    out = folder / f"ours{'_'.join(options)}.prototxt"
    done = run_main(TOOL, source, "--out", out, *options, status=status)
    return out, done.stdout, done.stderr


def parse(path: Path) -> Any:
    return text_format.Parse(path.read_text(encoding="utf-8"), caffe_pb2.NetParameter())


def layer_of(net: Any, name: str) -> Any:
    (layer,) = (layer for layer in net.layer if layer.name == name)
    return layer


def fill(net: Any, **blobs: np.ndarray) -> None:
    for name, values in blobs.items():
        net.blobs[name].reshape(*values.shape)
        net.blobs[name].data[...] = values


def columns_of(
    maps: list[np.ndarray], rates: list[int], rows: np.ndarray, order: int
) -> np.ndarray:
    """Hypercolumns (M, C) at rows (image, y, x), by SciPy."""
    result = []
    for image, y, x in rows:
        column = [
            map_coordinates(
                channel,
                [[(y - (rate - 1) / 2) / rate], [(x - (rate - 1) / 2) / rate]],
                order=order,
                mode="nearest",
            )[0]
            for level, rate in zip(maps, rates, strict=True)
            for channel in level[int(image)].astype(float)
        ]
        result.append(column)
    return np.array(result)


def draw_rows(rng: np.random.Generator, counts: list[int]) -> np.ndarray:
    """Rows (image, y, x), `counts` of each image, in no order."""
    image = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return np.column_stack([image, rng.integers(0, SIDE, (len(image), 2))]).astype(np.float32)


def shapes_images(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy grey images (count, 1, SIDE, SIDE) of squares and discs, and the class of each pixel."""
    y, x = np.mgrid[:SIDE, :SIDE]
    images, classes = [], []
    for _ in range(count):
        label = np.zeros((SIDE, SIDE), int)
        for kind in (1, 2):
            radius = rng.integers(5, 9)
            at = rng.integers(radius, SIDE - radius, 2)
            inside = (
                np.maximum(abs(y - at[0]), abs(x - at[1])) <= radius
                if kind == 1
                else np.hypot(y - at[0], x - at[1]) <= radius
            )
            label[inside] = kind
        # The discs are striped: a pixel's own value does not tell its class.
        grey = 0.8 * (label == 1) + np.where(label == 2, 0.8 * (y % 2), 0)
        images.append(grey + rng.normal(0, 0.1, (SIDE, SIDE)))
        classes.append(label)
    return np.array(images, np.float32)[:, None], np.array(classes)


def test_help_teaches() -> None:
    said = run_main(TOOL, "--help").stdout
    for word in ("RandBI", "RandCat", "SparseHypercolumnExtractor", "--dense", "Exit status"):
        assert word in said


def test_pixelnets_layer(tmp_path: Path) -> None:
    path, said, errors = migrate(tmp_path, SEGMENTATION)
    assert "layer columns: RandBI -> SparseHypercolumn" in said
    assert errors == ""
    layer = layer_of(parse(path), "columns")
    assert list(layer.bottom) == ["pixels", "c1", "c2", "c3"]
    assert layer.sparse_hypercolumn_param == caffe_pb2.SparseHypercolumnParameter(
        scale=[1, 2, 4], offset_height=[0, 0.5, 1.5], offset_width=[0, 0.5, 1.5]
    )
    net = caffe.Net(str(path), caffe.TEST)
    rng = np.random.default_rng(0)
    for counts in ([100, 0, 3, 40], [1, 2, 3, 4]):  # pixels an image
        rows = draw_rows(rng, counts)
        fill(
            net,
            data=rng.normal(size=(4, 1, SIDE, SIDE)),
            pixels=rows,
            labels=np.zeros((len(rows), 1)),
        )
        net.forward()
        maps = [net.blobs[name].data for name in ("c1", "c2", "c3")]
        expected = columns_of(maps, [1, 2, 4], rows, 1)
        # Weighted means of values of order ten in float.
        np.testing.assert_allclose(net.blobs["columns"].data, expected, atol=1e-5)


def spread(values: np.ndarray, rows: np.ndarray, rate: int, shape: tuple[int, ...]) -> np.ndarray:
    """Sum gradients (M, C) at rows (image, y, x) in every cell of the map, by the cell's share of each."""
    total = np.zeros(shape)
    for (image, *place), value in zip(rows, values.astype(float), strict=True):
        shares = []
        for position, size in zip(place, shape[2:], strict=True):
            at = np.clip((position - (rate - 1) / 2) / rate, 0, size - 1)
            shares.append(np.maximum(0, 1 - abs(at - np.arange(size))))
        total[image] += value[:, None, None] * np.outer(*shares)
    return total


def test_pixelnets_segmentation_trains_on_unequal_numbers_of_pixels(tmp_path: Path) -> None:
    """The whole of their net, 20 iterations: rows by SciPy, gradients by a sum over rows and cells."""
    path, said, errors = migrate(tmp_path, pixelnet())
    assert "layer rand_concat: RandBI -> SparseHypercolumn" in said and errors == ""
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{path}" base_lr: 0.02 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005 '
        "snapshot_after_train: false random_seed: 5"
    )
    solver = caffe.get_solver(str(tmp_path / "solver.prototxt"))
    net = solver.net
    first = net.params["conv1_1"][0].data.copy()
    rng = np.random.default_rng(7)
    losses = []
    for _ in range(20):
        # Blocks of darkness and of light, the first class and the last.
        classes = np.kron(rng.choice([0, 20], (3, 7, 7)), np.ones((32, 32), int))
        counts = [int(rng.integers(1, 40)), 0, int(rng.integers(40, 120))]
        image = rng.permutation(np.repeat([0, 1, 2], counts))
        rows = np.column_stack([image, rng.integers(0, 224, (len(image), 2))])
        labels = classes[tuple(rows.T)][:, None]
        fill(net, data=np.repeat(classes[:, None] / 10 - 1, 3, 1), pixels=rows, labels=labels)
        solver.step(1)
        losses.append(float(net.blobs["loss_cls"].data))
    assert np.mean(losses[-5:]) < losses[0] / 2  # which is about ln 21
    assert np.abs(net.params["conv1_1"][0].data - first).max() > 0

    columns = net.blobs["fc5"]
    assert columns.data.shape == (len(rows), 348)
    begin = 0
    for (name, rate), read in zip(TAPS.items(), net.bottom_names["rand_concat"][1:], strict=True):
        level = net.blobs[name].data
        part = slice(begin, begin := begin + level.shape[1])
        # The shares of cells are exact, so what is left is the rounding of four products and sums.
        scale = np.abs(level).max()
        np.testing.assert_allclose(
            columns.data[:, part], columns_of([level], [rate], rows, 1), atol=1e-6 * scale
        )
        found = net.blobs[read].diff
        expected = spread(columns.diff[:, part], rows, rate, level.shape)
        if name == "fc7_conv":  # behind it ReLU and dropout work in place
            expected = np.where(level > 0, 2 * expected, 0)
        # Float sums of up to 120 gradients.
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
        assert (np.abs(expected[[0, 2]]).max(axis=(1, 2, 3)) > 0).all() and not found[1].any()


def test_without_pad_and_nearest(tmp_path: Path) -> None:
    text = SEGMENTATION.replace("pad: true", "")
    path, _, _ = migrate(tmp_path, text)
    assert set(layer_of(parse(path), "columns").sparse_hypercolumn_param.offset_width) == {0}
    text = SEGMENTATION.replace(
        '"RandBI"',
        '"RandComp" propagate_down: false propagate_down: true '
        "propagate_down: true propagate_down: true",
    )
    path, _, _ = migrate(tmp_path, text)
    layer = layer_of(parse(path), "columns")
    assert layer.sparse_hypercolumn_param.nearest
    assert list(layer.propagate_down) == [False] * 4  # theirs goes by the first
    net = caffe.Net(str(path), caffe.TEST)
    rng = np.random.default_rng(1)
    rows = draw_rows(rng, [9, 0, 1, 30])
    fill(net, data=rng.normal(size=(4, 1, SIDE, SIDE)), pixels=rows, labels=np.zeros((40, 1)))
    net.forward()
    for rate, name, first in ((1, "c1", 0), (2, "c2", 8), (4, "c3", 24)):
        maps = net.blobs[name].data
        image, y, x = rows.T
        # Theirs rounds half up.
        j, i = (np.floor((v - (rate - 1) / 2) / rate + 0.5).astype(int) for v in (y, x))
        j, i = (np.clip(v, 0, SIDE // rate - 1) for v in (j, i))
        expected = maps[image.astype(int), :, j, i]
        got = net.blobs["columns"].data[:, first : first + maps.shape[1]]
        np.testing.assert_array_equal(got, expected)


DRAWING = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 1 dim: 32 dim: 32 } } }
layer { name: "valid" type: "Input" top: "valid" input_param { shape { dim: 1 dim: 1 dim: 32 dim: 32 } } }
layer { name: "normals" type: "Input" top: "normals"
  input_param { shape { dim: 2 dim: 3 dim: 32 dim: 32 } } }"""


@pytest.mark.parametrize("kind", ["RandCat", "RandCatConv"])
def test_layers_that_draw_their_pixels(kind: str, tmp_path: Path) -> None:
    levels, rates = (["c1"], [1]) if kind == "RandCat" else (["c1", "c2", "c3"], [1, 2, 4])
    bottoms = "".join(f' bottom: "{level}"' for level in (*levels, "valid", "normals"))
    parameter = (
        "rand_cat_param { num_output: 50 }"
        if kind == "RandCat"
        else "rand_cat_conv_param { num_output: 50 pooling_factor: 1 pooling_factor: 2 "
        "pooling_factor: 4 }"
    )
    text = (
        DRAWING
        + BACKBONE
        + f"""
        layer {{ name: "draw" type: "{kind}"{bottoms} top: "columns" top: "target" {parameter} }}
        layer {{ name: "second" type: "RandBI" bottom: "c3" bottom: "draw_pixels" top: "second"
                 rand_comp_param {{ pad: true compression_rate: 4 }} }}
        {product("score", "columns", 3)}
        layer {{ name: "loss" type: "EuclideanLoss" bottom: "score" bottom: "target" top: "loss" }}"""
    )
    path, said, errors = migrate(tmp_path, text)
    assert f"layer draw: {kind} drew 50 pixels an image, of those where valid is 1" in said
    assert errors == ""
    net = caffe.Net(str(path), caffe.TRAIN)
    rng = np.random.default_rng(2)
    rows = draw_rows(rng, [13, 21])
    normals = rng.normal(size=(2, 3, SIDE, SIDE)).astype(np.float32)
    fill(net, data=rng.normal(size=(2, 1, SIDE, SIDE)), normals=normals, draw_pixels=rows)
    net.forward()
    net.backward()
    assert np.abs(net.params["c1"][0].diff).max() > 0
    maps = [net.blobs[level].data for level in levels]
    np.testing.assert_allclose(
        net.blobs["columns"].data, columns_of(maps, rates, rows, 1), atol=1e-5
    )
    np.testing.assert_allclose(
        net.blobs["second"].data, columns_of([net.blobs["c3"].data], [4], rows, 1), atol=1e-5
    )
    image, y, x = rows.astype(int).T
    np.testing.assert_array_equal(net.blobs["target"].data, normals[image, :, y, x])


@pytest.mark.parametrize("kind", ["SparseHypercolumnExtractor", "HypercolumnExtractor"])
def test_the_authors_layers(kind: str, tmp_path: Path) -> None:
    sparse = kind.startswith("Sparse")
    field = "sparse_hypercolumn_extractor_param" if sparse else "hypercolumn_extractor_param"
    text = (
        DRAWING
        + BACKBONE
        + f"""
        layer {{ name: "places" type: "DummyData" top: "places" dummy_data_param {{
          data_filler {{ type: "uniform" min: -2 max: 34 }}
          shape {{ dim: 2 dim: 7 dim: 2 {"" if sparse else "dim: 1"} }} }} }}
        layer {{ name: "columns" type: "{kind}" bottom: "places" bottom: "c1" bottom: "c3" top: "columns"
          {field} {{ scale: 1 scale: 4 offset_height: 0 offset_height: 1.5 offset_width: 0.25
          offset_width: 1.5 {"activation_mult: 2" if sparse else ""} }} }}"""
    )
    path, said, _ = migrate(tmp_path, text)
    assert f"layer columns: {kind} -> SparseHypercolumn" in said
    param = layer_of(parse(path), "columns").sparse_hypercolumn_param
    assert list(param.offset_width) == [0.25, 1.5]
    assert list(param.activation_mult) == ([2, 1] if sparse else [])
    net = caffe.Net(str(path), caffe.TEST)
    assert net.blobs["columns"].data.shape == (14, 40)


def test_what_cannot_be_rewritten_is_said(tmp_path: Path) -> None:
    normalize = """
        layer { name: "unit" type: "Normalize" bottom: "score" top: "unit"
                norm_param { across_spatial: false scale_filler { type: "constant" } } }"""
    path, said, errors = migrate(tmp_path, SEGMENTATION + normalize, status=1)
    assert "layer columns: RandBI -> SparseHypercolumn" in said  # the rest is done
    assert layer_of(parse(path), "columns").type == "SparseHypercolumn"
    first, second = errors.splitlines()
    assert "left out: across_spatial, norm_param, scale_filler" in first
    assert second == (
        "migrate_prototxt: layer unit (Normalize) is not rewritten: this Caffe has no such layer"
    )
    text = SEGMENTATION.replace("compression_rate: 4", "")
    _, _, errors = migrate(tmp_path, text, status=1)
    assert (
        "expected 3 values of compression_rate, one for each bottom but the last, got 2" in errors
    )
    assert len(errors.splitlines()) == 1
    _, said, _ = migrate(tmp_path, DRAWING)
    assert said.startswith("nothing to rewrite")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer { name: 'a' type: ", "theirs.prototxt:1:"),
        ("layers { name: 'a' type: RELU }", "run upgrade_net_proto_text first"),
        ("layer {\n name: 'a'\n type 3 }", "theirs.prototxt:3:"),
    ],
)
def test_files_that_are_no_nets(text: str, message: str, tmp_path: Path) -> None:
    out, _, errors = migrate(tmp_path, text, status=1)
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert not out.exists()


def test_wrong_arguments(tmp_path: Path) -> None:
    _, _, errors = migrate(tmp_path, SEGMENTATION, "--dense", "--stride", "0", status=2)
    assert "argument --stride: expected at least 1, got 0" in errors
    _, _, errors = migrate(tmp_path, SEGMENTATION, "--stride", "2", status=2)
    assert "argument --stride: expected --dense as well" in errors
    net = tmp_path / "net.prototxt"
    net.write_text(SEGMENTATION)
    errors = run_main(TOOL, net, "--out", net, status=2).stderr
    assert f"argument --out: expected another file than the net, got {net}" in errors
    assert net.read_text() == SEGMENTATION


def test_what_is_no_file_is_refused_at_once_and_a_mark_in_front_is_no_text(tmp_path: Path) -> None:
    out = tmp_path / "out.prototxt"
    os.mkfifo(tmp_path / "pipe")
    refused = run_tool(TOOL, tmp_path / "pipe", "--out", out, status=1, timeout=60)
    assert "pipe: expected a file, got a named pipe" in refused.stderr
    path, _, _ = migrate(tmp_path, SEGMENTATION)
    (tmp_path / "bom.prototxt").write_text(SEGMENTATION, encoding="utf-8-sig")
    run_tool(TOOL, tmp_path / "bom.prototxt", "--out", out)
    assert out.read_text() == path.read_text()


def test_dense_names_what_it_cannot(tmp_path: Path) -> None:
    relu = 'layer { name: "r1" type: "ReLU" bottom: "h1" top: "h1" }'
    assert relu in SEGMENTATION
    flatten = 'layer { name: "r1" type: "Flatten" bottom: "h1" top: "f1" }'
    _, _, errors = migrate(tmp_path, SEGMENTATION.replace(relu, flatten), "--dense", status=1)
    assert "layer r1 (Flatten) is not rewritten: --dense does not know" in errors


def train(folder: Path, net: Path, iterations: int) -> Any:
    """Train on images of shapes, with another number of pixels of each image."""
    solver_path = folder / "solver.prototxt"
    solver_path.write_text(
        f'net: "{net}" type: "Adam" base_lr: 0.003 lr_policy: "fixed" momentum: 0.9 '
        "solver_mode: CPU snapshot_after_train: false random_seed: 5"
    )
    solver = caffe.get_solver(str(solver_path))
    rng = np.random.default_rng(3)
    for _ in range(iterations):
        images, classes = shapes_images(rng, 4)
        rows = draw_rows(rng, [*map(int, rng.integers(0, 60, 3)), 20])
        image, y, x = rows.astype(int).T
        fill(solver.net, data=images, pixels=rows, labels=classes[image, y, x][:, None])
        solver.step(1)
    return solver.net


@pytest.mark.slow
def test_a_segmentation_is_trained_on_pixels_and_predicts_all(tmp_path: Path) -> None:
    path, _, _ = migrate(tmp_path, SEGMENTATION)
    trained = train(tmp_path, path, 400)
    weights = tmp_path / "trained.caffemodel"
    trained.save(str(weights))
    images, classes = shapes_images(np.random.default_rng(4), 8)

    dense_path, said, _ = migrate(tmp_path, SEGMENTATION, "--dense")
    assert "layers columns and h1 -> HypercolumnInnerProduct" in said
    dense = caffe.Net(str(dense_path), str(weights), caffe.TEST)
    assert list(dense.inputs) == ["data"]
    fill(dense, data=images)
    dense.forward()
    scores = dense.blobs["score"].data
    assert scores.shape == (8, CLASSES, SIDE, SIDE)

    sparse = caffe.Net(str(path), str(weights), caffe.TEST)
    every = np.stack(np.meshgrid(np.arange(8), np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1)
    every = np.random.default_rng(5).permutation(every.reshape(-1, 3))
    fill(sparse, data=images, pixels=every, labels=np.zeros((len(every), 1)))
    sparse.forward()
    image, y, x = every.T
    # Sums of some hundred products in float, in another order.
    np.testing.assert_allclose(
        scores[image, :, y, x], sparse.blobs["score"].data, atol=1e-4 * np.abs(scores).max()
    )
    share = (classes == 0).mean()
    accuracy = (scores.argmax(axis=1) == classes).mean()
    print(f"accuracy {accuracy:.3f}, of always the background {share:.3f}")
    assert accuracy > share + 0.75 * (1 - share)


def test_a_dense_net_of_a_coarser_grid(tmp_path: Path) -> None:
    path, _, _ = migrate(tmp_path, SEGMENTATION)
    dense_path, _, _ = migrate(tmp_path, SEGMENTATION, "--dense", "--stride", "3")
    caffe.set_random_seed(1)
    sparse = caffe.Net(str(path), caffe.TEST)
    weights = tmp_path / "w.caffemodel"
    sparse.save(str(weights))
    dense = caffe.Net(str(dense_path), str(weights), caffe.TEST)
    rng = np.random.default_rng(6)
    images = rng.normal(size=(4, 1, SIDE, SIDE))
    size = -(-SIDE // 3)
    grid = np.stack(
        np.meshgrid(np.arange(4), np.arange(size) * 3 + 1, np.arange(size) * 3 + 1, indexing="ij"),
        -1,
    )
    rows = grid.reshape(-1, 3)
    fill(dense, data=images)
    fill(sparse, data=images, pixels=rows, labels=np.zeros((len(rows), 1)))
    dense.forward()
    sparse.forward()
    scores = dense.blobs["score"].data
    expected = sparse.blobs["score"].data.reshape(4, size, size, CLASSES).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(scores, expected, atol=1e-4 * np.abs(expected).max())
