"""Layers of a deploy net joined into faster ones; no output changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def fuse_relus(net: Any) -> None:
    """Move in-place ReLUs that directly follow a convolution into it, if Caffe has oneDNN's engine.

    Blobs keep their names and, once the net has run, their values; nothing may have read the
    convolution's output before the ReLU.

    Parameters
    ----------
    net : caffe_pb2.NetParameter
        Changed in place.
    """
    from caffe.proto import caffe_pb2

    if "fuse_relu" not in caffe_pb2.ConvolutionParameter.DESCRIPTOR.fields_by_name:
        return
    engines = (caffe_pb2.ConvolutionParameter.DEFAULT, caffe_pb2.ConvolutionParameter.ONEDNN)
    kept: list[Any] = []
    for layer in net.layer:
        last = kept[-1] if kept else None
        if (
            last is not None
            and last.type == "Convolution"
            and last.convolution_param.engine in engines
            and _is_plain_relu(layer)
            and list(last.top) == list(layer.bottom)
        ):
            last.convolution_param.fuse_relu = True
        else:
            kept.append(layer)
    net.CopyFrom(with_layers(net, kept))


def fuse_heads(net: Any, keep: Sequence[str] = ()) -> None:
    """Move the heads of a hypercolumn's layer into it, so that its own output is never stored.

    A HypercolumnInnerProduct layer, a ReLU in place and HypercolumnInnerProduct layers on that
    output alone, with biases, become one layer with ``heads``; weights keep their layers' names and
    shapes. The blob between them is then gone.

    Parameters
    ----------
    net : caffe_pb2.NetParameter
        Changed in place.
    keep : sequence of str
        Blobs that must stay.
    """
    layers = list(net.layer)
    for index, hidden in enumerate(layers[:-1]):
        if not _is_dense(hidden) or not _is_plain_relu(layers[index + 1]):
            continue
        blob = hidden.top[0]
        readers = [layer for layer in layers[index + 2 :] if blob in layer.bottom]
        if (
            list(layers[index + 1].bottom) != [blob]
            or blob in keep
            or not readers
            or not all(_is_head(reader, blob) for reader in readers)
            or any(blob in layer.top for layer in layers[index + 2 :])
        ):
            continue
        fused = type(hidden).FromString(hidden.SerializeToString())
        del fused.top[:]
        fused.hypercolumn_inner_product_param.heads = len(readers)
        weights = []
        for reader in readers:
            weight = type(reader)(name=reader.name, type="InnerProductWeights")
            weight.top.extend(f"{reader.name}_{part}" for part in ("weight", "bias"))
            parameter = weight.inner_product_weights_param
            parameter.num_output = reader.hypercolumn_inner_product_param.num_output
            parameter.num_input = hidden.hypercolumn_inner_product_param.num_output
            weights.append(weight)
            fused.bottom.extend(weight.top)
            fused.top.extend(reader.top)
        rest = [layer for layer in layers[index + 2 :] if layer not in readers]
        net.CopyFrom(with_layers(net, [*layers[:index], *weights, fused, *rest]))
        return


def with_layers(net: Any, layers: Iterable[Any]) -> Any:
    """Return a copy of a ``NetParameter`` with copies of other layers."""
    copy = type(net)()
    copy.CopyFrom(net)
    del copy.layer[:]
    copy.layer.extend(layers)
    return copy


def _is_plain_relu(layer: Any) -> bool:
    return (
        layer.type == "ReLU"
        and layer.relu_param.negative_slope == 0
        and list(layer.bottom) == list(layer.top)
    )


def _is_dense(layer: Any) -> bool:
    return (
        layer.type == "HypercolumnInnerProduct" and not layer.hypercolumn_inner_product_param.heads
    )


def _is_head(layer: Any, blob: str) -> bool:
    """Whether a layer is a 1x1 convolution of a blob: one level, at its own resolution."""
    parameter = layer.hypercolumn_inner_product_param
    unset = ("scale", "offset_height", "offset_width", "activation_mult", "bias_term", "stride")
    return (
        _is_dense(layer)
        and list(layer.bottom) == [blob]
        and all(field.name not in unset for field, _ in parameter.ListFields())
    )
