"""The networks, the checked-in prototxt files, and dense against sparse inference."""

from dataclasses import replace
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from model_costs import deploy_costs, models_table

from autocolor.nets.catalogue import all_models
from autocolor.nets.colorization import Classifier, ColorizationNet, TrainingOptions
from autocolor.nets.vgg16 import vgg16_levels

ROOT = Path(__file__).resolve().parents[3]
MODELS = all_models()
SLIM = 1 / 32


def test_levels_are_those_of_the_paper():
    levels = vgg16_levels()
    assert [level.name for level in levels][:3] == ["data", "conv1_1", "conv1_2"]
    assert [level.name for level in levels][-3:] == ["conv5_3", "fc6", "fc7"]
    assert [level.scale for level in levels] == [
        1,
        1,
        1,
        2,
        2,
        4,
        4,
        4,
        8,
        8,
        8,
        16,
        16,
        16,
        32,
        32,
    ]
    assert all(level.offset == (level.scale - 1) / 2 for level in levels)
    assert sum(level.channels for level in levels) == 12417  # section 3.5
    assert sum(level.channels for level in vgg16_levels("data..conv5_3")) == 4225
    assert [level.name for level in vgg16_levels("fc7")] == ["fc7"]


@pytest.mark.parametrize(
    "levels", ["", "..", "fc8", "fc7..data", "data...fc7", "data..", "conv1_3"]
)
def test_unknown_levels_are_refused(levels):
    if levels == "data..":  # "data" alone
        assert len(vgg16_levels(levels)) == 1
        return
    with pytest.raises(ValueError, match="levels: expected FIRST..LAST of data, conv1_1"):
        vgg16_levels(levels)


@pytest.mark.parametrize("name", MODELS)
def test_checked_in_prototxt_is_what_the_code_describes(name):
    for file, text in MODELS[name].files().items():
        written = (ROOT / "prototxt" / name / file).read_text()
        assert written == text
        message = caffe_pb2.SolverParameter if file == "solver.prototxt" else caffe_pb2.NetParameter
        assert text_format.Parse(written, message()) == text_format.Parse(text, message())


def test_there_is_nothing_else_in_prototxt():
    found = {path.name for path in (ROOT / "prototxt").iterdir()}
    assert found == {*MODELS, "README.md"}
    assert (ROOT / "prototxt" / "README.md").read_text() == models_table(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_names_are_unique_and_every_blob_is_used(name):
    for phase in ("train", "test"):
        net = MODELS[name].network.training_net(MODELS[name].training, phase)
        names = [layer.name for layer in net.layer]
        assert len(set(names)) == len(names)
        read = {bottom for layer in net.layer for bottom in layer.bottom}
        for layer in net.layer:
            for top in layer.top:
                assert top in read or "loss" in top or "accuracy" in top, top
    with pytest.raises(ValueError, match="phase: expected 'train' or 'test', got 'deploy'"):
        MODELS[name].network.training_net(MODELS[name].training, "deploy")


def test_frozen_layers_do_not_learn():
    net = ColorizationNet().training_net(
        TrainingOptions("x", backbone_rate=0, hypercolumn_dropout=0.5), "train"
    )
    kinds = {
        layer.name: [param.lr_mult for param in layer.param] for layer in net.layer if layer.param
    }
    assert all(rates == [0, 0] for name, rates in kinds.items() if name.startswith(("conv", "fc")))
    assert kinds["h_fc1"] == [1, 2]


def test_the_weight_of_the_hue_is_the_chroma_of_the_pixel_of_the_target(tmp_path):
    """Eq. 3 weights a pixel's hue by its own chroma, wherever in the pixel the location lies."""
    network = ColorizationNet(levels="data", bins=256, width=SLIM)
    options = TrainingOptions("", batch=2, crop=24, locations=200)
    net = network.training_net(options, "test")
    image = next(layer for layer in net.layer if layer.type == "Data")
    image.CopyFrom(caffe_pb2.LayerParameter(name="image", type="Input", top=["image"]))
    image.input_param.shape.add(dim=[2, 3, 24, 24])
    net = make_net(tmp_path / "net.prototxt", net)
    rng = np.random.default_rng(0)
    net.blobs["image"].data[...] = rng.integers(0, 256, (2, 3, 24, 24)) / 255
    net.forward()
    weight, target = net.blobs["chroma_weight"].data[:, 0], net.blobs["target_c"].data
    assert (target.max(axis=1) == 1).all()
    bins = np.minimum(np.floor(weight * 256), 255)
    np.testing.assert_array_equal(bins, target.argmax(axis=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(variant="rgb"), "variant: expected one of"),
        (dict(bins=-1), "bins: expected a positive number, got -1"),
        (dict(width=float("nan")), "width: expected a positive number, got nan"),
    ],
)
def test_wrong_colorizers_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ColorizationNet(**arguments)


def make_net(path, net, weights=None):
    path.write_text(text_format.MessageToString(net))
    caffe.set_mode_cpu()
    return caffe.Net(str(path), caffe.TEST, **({"weights": str(weights)} if weights else {}))


def with_inputs(net, **shapes):
    """The net with Input layers of some shapes instead of the layers that make these tops."""
    result = caffe_pb2.NetParameter(name=net.name)
    for name, shape in shapes.items():
        layer = result.layer.add(name=name, type="Input")
        layer.top.append(name)
        layer.input_param.shape.add().dim.extend(shape)
    result.layer.extend(layer for layer in net.layer if not set(layer.top) & set(shapes))
    return result


@pytest.mark.parametrize(
    "network",
    [
        ColorizationNet(levels="data..conv5_3", width=1 / 2),
        *(
            ColorizationNet(variant, width=SLIM)
            for variant in ("hue_chroma", "lab_marginal", "lab_joint", "lab_l2")
        ),
        ColorizationNet(levels="conv4_1..fc7", width=SLIM),
        ColorizationNet(levels="fc7", width=SLIM),
    ],
)
def test_sparse_training_weights_serve_dense_inference(tmp_path, network):
    """One caffemodel, the same predictions at the same pixels, at the image's border too."""
    side, stride = 64, 4
    train = network.training_net(TrainingOptions("x", batch=1, crop=side), "test")
    keep = {"SparseHypercolumn", "InnerProduct", "Convolution", "ReLU", "Pooling", "Dropout"}
    sparse = with_inputs(train, data=(1, 1, side, side), locations=(1, 256, 2))
    layers = [
        layer
        for layer in sparse.layer
        if layer.type in {*keep, "Input"} and layer.name not in ("chroma_weight", "target_ab")
    ]
    del sparse.layer[:]
    sparse.layer.extend(layers)
    caffe.set_random_seed(1)
    net = make_net(tmp_path / "sparse.prototxt", sparse)
    for blobs in net.params.values():  # Xavier's zero biases would hide a missing one
        blobs[1].data[...] = 0.01
    weights = tmp_path / "weights.caffemodel"
    net.save(str(weights))

    rng = np.random.default_rng(0)
    image = rng.random((1, 1, side, side), dtype=np.float32)
    grid = np.arange(side // stride) * stride + (stride - 1) / 2
    net.blobs["data"].data[...] = image
    net.blobs["locations"].data[0] = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(
        -1, 2
    )
    net.forward()
    dense = make_net(tmp_path / "dense.prototxt", network.deploy_net(stride), weights)
    dense.blobs["data"].reshape(1, 1, side, side)
    dense.blobs["data"].data[...] = image
    dense.forward()
    for head in network.heads:
        name = f"prediction_{head.suffix}"
        expected = net.blobs[name].data.T.reshape(1, -1, side // stride, side // stride)
        # Thousands of products in another order, in float.
        np.testing.assert_allclose(
            dense.blobs[name].data, expected, atol=1e-4 * np.abs(expected).max()
        )
        output = dense.blobs[head.output].data
        if head.bins:
            assert np.allclose(output.sum(axis=1), 1, atol=1e-5)
        else:
            np.testing.assert_allclose(output, 25 * dense.blobs[name].data, rtol=1e-5)


def fixed_batch(network, rng):
    """Arrays for the inputs of a training net of two images."""
    if isinstance(network, Classifier):
        image = rng.random((2, 3, 224, 224))
        return {"image": image, "label": np.array([1.0, 7.0])}
    locations = rng.uniform(0, 63, (2, 64, 2))
    if hasattr(network, "hidden"):  # edges
        light = rng.random((2, 1, 64, 64))
        return {"data": light, "edges": np.round(light), "locations": locations}
    # Smooth colours, which a network can learn: one of each image's corners for each channel.
    ramp = np.linspace(0, 1, 64)
    y, x = np.meshgrid(ramp, ramp, indexing="ij")
    image = np.stack([np.stack([y, x, 1 - y]), np.stack([x * y, 1 - x, y])])
    return {"image": image, "locations": locations}


def narrow(network):
    return replace(network, width=SLIM) if hasattr(network, "width") else network


@pytest.mark.parametrize("name", MODELS)
def test_two_steps_reduce_the_loss_of_a_fixed_batch(tmp_path, name):
    network = narrow(MODELS[name].network)
    inputs = fixed_batch(network, np.random.default_rng(0))
    crop = 224 if isinstance(network, Classifier) else 64
    options = TrainingOptions("x", batch=2, crop=crop, locations=64, dropout=0)
    net = with_inputs(
        network.training_net(options, "train"),
        **{key: array.shape for key, array in inputs.items()},
    )
    (tmp_path / "net.prototxt").write_text(text_format.MessageToString(net))
    solver_text = f"""train_net: "{tmp_path}/net.prototxt" base_lr: 0.01 lr_policy: "fixed"
                      momentum: 0.9 random_seed: 1 solver_mode: CPU snapshot_after_train: false"""
    (tmp_path / "solver.prototxt").write_text(solver_text)
    solver = caffe.get_solver(str(tmp_path / "solver.prototxt"))
    for key, array in inputs.items():
        solver.net.blobs[key].data[...] = array

    def loss():
        solver.net.forward()
        weights = {
            top: weight
            for layer in net.layer
            for top, weight in zip(layer.top, layer.loss_weight or [1], strict=False)
        }
        return sum(float(solver.net.blobs[top].data) * weights[top] for top in solver.net.outputs)

    before = loss()
    solver.step(2)
    after = loss()
    assert np.isfinite([before, after]).all()
    assert after < before
    for layer, blobs in solver.net.params.items():
        assert all(np.isfinite(blob.diff).all() for blob in blobs), layer


@pytest.mark.parametrize("name", MODELS)
def test_costs_are_those_of_the_net(tmp_path, name):
    """Parameters and blobs as real Caffe makes them."""
    network = narrow(MODELS[name].network)
    height, width = (224, 256) if isinstance(network, Classifier) else (64, 96)
    deploy = network.deploy_net()
    costs = deploy_costs(deploy, height, width)
    net = make_net(tmp_path / "net.prototxt", deploy)
    net.blobs["data"].reshape(1, 1, height, width)
    net.reshape()
    assert costs.parameters == sum(blob.count for blobs in net.params.values() for blob in blobs)
    blobs = {name: blob for name, blob in net.blobs.items() if "_split_" not in name}
    assert costs.activations == sum(blob.count for blob in blobs.values())


def test_full_network_has_as_many_parameters_as_the_released_one():
    assert deploy_costs(ColorizationNet().deploy_net(), 256, 256).parameters == 147_041_024


def test_multiply_adds_of_a_convolution_and_a_product():
    net = text_format.Parse(
        """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 8 dim: 8 } } }
           layer { name: "c" type: "Convolution" bottom: "data" top: "c"
                   convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }
           layer { name: "h" type: "HypercolumnInnerProduct" bottom: "data" bottom: "c" top: "h"
                   hypercolumn_inner_product_param { num_output: 5 stride: 2 } }""",
        caffe_pb2.NetParameter(),
    )
    costs = deploy_costs(net, 8, 8)
    assert costs.parameters == (2 * 9 + 2) + (5 * 3 + 5)
    assert costs.multiply_adds == 2 * 9 * 64 + 5 * 3 * 16
    assert costs.activations == 64 + 2 * 64 + 5 * 16
    net.layer[1].type = "LRN"
    with pytest.raises(ValueError, match="layer c: no costs are known of type LRN"):
        deploy_costs(net, 8, 8)


def test_hdf5_weights_really_load(tmp_path):
    text = """layer { name: "data" type: "Input" top: "data"
                      input_param { shape { dim: 1 dim: 3 } } }
              layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
                      inner_product_param { num_output: 2 } }"""
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    net = caffe.Net(str(path), caffe.TEST)
    net.params["fc"][0].data[...] = [[1, 2, 3], [4, 5, 6]]
    net.save_hdf5(str(tmp_path / "weights.caffemodel.h5"))
    loaded = caffe.Net(str(path), str(tmp_path / "weights.caffemodel.h5"), caffe.TEST)
    assert loaded.params["fc"][0].data.tolist() == [[1, 2, 3], [4, 5, 6]]
