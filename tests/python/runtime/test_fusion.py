"""Heads that move into the hypercolumn's layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from autocolor.core.variants import VARIANTS
from autocolor.nets.colorization import ColorizationNet
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.runtime.fusion import fuse_heads


def _load(folder: Path, net: Any) -> Any:
    caffe = import_caffe()
    path = folder / "net.prototxt"
    path.write_text(str(net), encoding="utf-8")
    return caffe.Net(str(path), caffe.TEST)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stride", [1, 4])
def test_outputs_stay(variant: str, stride: int, tmp_path: Path) -> None:
    network = ColorizationNet(variant, levels="data..conv3_1", bins=5, width=1 / 16)
    plain, fused = (network.deploy_net(stride) for _ in range(2))
    fuse_heads(fused, keep=[head.output for head in network.heads])
    kinds = [layer.type for layer in fused.layer]
    assert kinds.count("HypercolumnInnerProduct") == 1
    assert kinds.count("InnerProductWeights") == len(network.heads)
    nets = _load(tmp_path, plain), _load(tmp_path, fused)
    rng = np.random.default_rng(0)
    assert "h_fc1" not in nets[1].blobs
    assert set(nets[0].params) == set(nets[1].params)
    for name, blobs in nets[0].params.items():
        for blob, other in zip(blobs, nets[1].params[name], strict=True):
            assert list(blob.shape) == list(other.shape)
            blob.data[...] = other.data[...] = rng.normal(0, 0.1, blob.data.shape)
    image = rng.random((1, 1, 32, 64), dtype=np.float32)
    for net in nets:
        net.blobs["data"].reshape(*image.shape)
        net.blobs["data"].data[...] = image
        net.forward()
    for head in network.heads:
        expected = nets[0].blobs[head.output].data
        np.testing.assert_allclose(
            nets[1].blobs[head.output].data, expected, atol=1e-5 * np.abs(expected).max()
        )


def _reads_the_hidden_blob(net: Any) -> None:
    net.layer.add(name="other", type="Power", bottom=["h_fc1"], top=["other"])


def _leaky(net: Any) -> None:
    next(la for la in net.layer if la.name == "h_relu1").relu_param.negative_slope = 0.1


def _has_stride(net: Any) -> None:
    net.layer[-2].hypercolumn_inner_product_param.stride = 2


@pytest.mark.parametrize("change", [_reads_the_hidden_blob, _leaky, _has_stride])
def test_other_nets_stay(change: Callable[[Any], None]) -> None:
    net = ColorizationNet("lab_l2", levels="data..conv1_2", width=1 / 16).deploy_net()
    change(net)
    before = caffe_pb2.NetParameter.FromString(net.SerializeToString())
    fuse_heads(net)
    assert net == before


def test_a_blob_to_keep_stays() -> None:
    net = ColorizationNet("lab_l2", levels="data..conv1_2", width=1 / 16).deploy_net()
    before = caffe_pb2.NetParameter.FromString(net.SerializeToString())
    fuse_heads(net, keep=["h_fc1"])
    assert net == before
