"""A deploy net with its weights as an ONNX model of standard operators, made without Caffe.

Hypercolumns are never formed: levels that are finer than the output are sampled at its positions,
coarser ones are projected by their part of ``h_fc1``'s weights at their own resolution and then
upsampled, and the parts are added. ONNX's ``Resize`` with the transformation "half_pixel" reads
position (i + 1/2) / factor - 1/2 of a map and clamps it at the border, which is what the layer
HypercolumnInnerProduct does wherever offset = (scale - 1)/2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from autocolor.runtime.caffemodel import FloatArray, Weights
from autocolor.runtime.deploy_nets import read_deploy
from autocolor.runtime.model_folder import INPUT_MULTIPLE, ModelError, read_model_weights

INPUT = "data"

# Of 2021 and 2022: runtimes of the last years know them.
_OPSET, _IR_VERSION = 17, 8

# Of levels and of the output: each is a whole number of cells of the input.
_SCALES = tuple(2**power for power in range(INPUT_MULTIPLE.bit_length()))

_LARGEST_SIZE = 1024  # of kernels, strides and borders

# Channels that onnxruntime's convolutions keep side by side.
_BLOCK = 8

# Fields that nodes are made of, by message, and those that change nothing when a net is run: what
# computes it, and how its weights began and learnt. Any other one is refused.
_FIELDS = {
    "LayerParameter": "name type bottom top input_param convolution_param pooling_param power_param "
    "relu_param softmax_param hypercolumn_inner_product_param",
    "InputParameter": "shape",
    "ConvolutionParameter": "num_output bias_term pad kernel_size stride dilation",
    "PoolingParameter": "pool kernel_size stride",
    "PowerParameter": "power scale shift",
    "ReLUParameter": "negative_slope",
    "SoftmaxParameter": "axis",
    "HypercolumnInnerProductParameter": "num_output bias_term scale offset_height offset_width "
    "activation_mult stride",
}
_WITHOUT_EFFECT = (
    "engine force_nd_im2col weight_filler bias_filler param phase loss_weight propagate_down"
)


class _Level(NamedTuple):
    blob: str
    scale: float
    multiplier: float
    first_channel: int
    channels: int


def load_onnx_model(deploy: Path, weights: Path, outputs: Sequence[str]) -> onnx.ModelProto:
    """Return a deploy prototxt and a caffemodel as an ONNX model.

    Parameters
    ----------
    deploy, weights : Path
        Layers of the weights that the net does not have are ignored.
    outputs : sequence of str
        Blobs of the net: histograms, or colours.

    Returns
    -------
    onnx.ModelProto
        Its input ``data`` is (N, 1, H, W), grey in [0, 1], with sides that are multiples of 32; its
        outputs have the names of the blobs and are (N, C, H / stride, W / stride).

    Raises
    ------
    ModelError
        If a file cannot be read, the net has no such outputs or a layer that has no equivalent here,
        or the weights lack a layer or have it in another shape.
    """
    net, source = read_deploy(deploy), f"{deploy} with {weights.name}"
    graph = _Graph(read_model_weights(weights), source)
    last_writer = {top: index for index, layer in enumerate(net.layer) for top in layer.top}
    for index, layer in enumerate(net.layer):
        graph.add_layer(layer, [last_writer[top] == index for top in layer.top])
    for blob in (INPUT, *outputs):
        if blob not in graph.tensors:
            raise ModelError(f"{source}: expected a blob named {blob!r}, got none")
    graph.proto.name = net.name or "autocolor"
    graph.proto.input.append(_value(INPUT, graph.channels[INPUT], "height", "width"))
    for blob in outputs:
        graph.proto.output.append(_value(blob, graph.channels[blob], "rows", "columns"))
    return graph.model


def _value(name: str, channels: int, height: str, width: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, TensorProto.FLOAT, ["images", channels, height, width]
    )


class _Graph:
    """The model so far."""

    def __init__(self, weights: Weights, source: str) -> None:
        # Filled in place: the functions of onnx.helper copy all weights twice.
        self.model = onnx.ModelProto(ir_version=_IR_VERSION, producer_name="autocolor")
        self.model.opset_import.append(helper.make_opsetid("", _OPSET))
        self.proto = self.model.graph
        # Blob to the tensor that holds it now: layers may work in place, tensors cannot.
        self.tensors: dict[str, str] = {}
        self.channels: dict[str, int] = {}
        self._weights = weights
        self._source = source
        self._initializer_names: set[str] = set()
        self._converters: dict[str, Callable[[Any, str], int]] = {
            "Input": self._input,
            "Convolution": self._convolution,
            "ReLU": self._relu,
            "Pooling": self._pooling,
            "Power": self._power,
            "Softmax": self._softmax,
            "HypercolumnInnerProduct": self._hypercolumn_inner_product,
        }

    def add_layer(self, layer: Any, is_last: Sequence[bool]) -> None:
        """Add the nodes of a layer; `is_last` says of each top whether no later layer writes it."""
        convert = self._converters.get(layer.type)
        if convert is None:
            raise self._error(layer, f"no equivalent of a layer of type {layer.type!r}")
        if len(layer.top) != 1:
            raise self._error(layer, f"expected one top, got {len(layer.top)}")
        self._check_fields(layer, layer)
        for blob in layer.bottom:
            if blob not in self.tensors:
                raise self._error(layer, f"no layer before it has the top {blob!r}")
        # What a blob holds in the end has its name.
        (top,) = layer.top
        output = top if is_last[0] else f"{top}/{layer.name}"
        self.channels[top] = convert(layer, output)
        self.tensors[top] = output

    def _check_fields(self, layer: Any, message: Any) -> None:
        known = f"{_FIELDS[message.DESCRIPTOR.name]} {_WITHOUT_EFFECT}".split()
        for field, value in message.ListFields():
            if field.name not in known and (field.is_repeated or value != field.default_value):
                raise self._error(layer, f"no equivalent of its field {field.name!r}")
            if field.name.endswith("_param"):
                self._check_fields(layer, value)

    def _error(self, layer: Any, message: str) -> ModelError:
        return ModelError(f"{self._source}: layer {layer.name!r}: {message}")

    def _node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.proto.node.append(
            helper.make_node(operator, inputs, [output], name=f"{operator}/{output}", **attributes)
        )
        return output

    def _constant(self, name: str, values: npt.NDArray[np.float32]) -> str:
        if name not in self._initializer_names:
            self._initializer_names.add(name)
            self.proto.initializer.add(
                name=name,
                data_type=TensorProto.FLOAT,
                dims=values.shape,
                raw_data=values.astype("<f4", copy=False).tobytes(),
            )
        return name

    def _bottom(self, layer: Any) -> str:
        if len(layer.bottom) != 1:
            raise self._error(layer, f"expected one bottom, got {len(layer.bottom)}")
        return self.tensors[layer.bottom[0]]

    def _blobs(self, layer: Any, *shapes: tuple[int, ...]) -> tuple[FloatArray, ...]:
        """Return the weights of a layer, which must have these shapes."""
        blobs = self._weights.get(layer.name)
        got = None if blobs is None else [list(blob.shape) for blob in blobs]
        expected = [list(shape) for shape in shapes]
        if blobs is None or got != expected:
            raise self._error(layer, f"expected {expected}, got {got or 'no such layer'}")
        return blobs

    def _input(self, layer: Any, output: str) -> int:
        dims = [list(shape.dim) for shape in layer.input_param.shape]
        if output != INPUT or [len(dim) for dim in dims] != [4]:
            raise self._error(
                layer, f"expected one input {INPUT!r} of four axes, got {output!r} {dims}"
            )
        return int(dims[0][1])

    def _convolution(self, layer: Any, output: str) -> int:
        param = layer.convolution_param
        kernel, pad, stride = (
            self._pair(layer, name, default)
            for name, default in (("kernel_size", None), ("pad", 0), ("stride", 1))
        )
        if min(param.num_output, *kernel, *stride) < 1:
            raise self._error(layer, "expected num_output, kernel_size and stride of at least 1")
        if set(param.dilation) - {1}:
            raise self._error(layer, "expected a dilation of 1")
        data = self._bottom(layer)
        shapes: list[tuple[int, ...]] = [
            (param.num_output, self.channels[layer.bottom[0]], *kernel)
        ]
        if param.bias_term:
            shapes.append((param.num_output,))
        inputs = [data]
        for name, blob in zip(("weight", "bias"), self._blobs(layer, *shapes), strict=False):
            inputs.append(self._constant(f"{layer.name}/{name}", blob))
        self._node("Conv", inputs, output, kernel_shape=kernel, pads=[*pad, *pad], strides=stride)
        return int(param.num_output)

    def _pair(self, layer: Any, name: str, default: int | None) -> list[int]:
        """Return a size along y and x, of a repeated field with none, one or two values."""
        values = list(getattr(layer.convolution_param, name))
        if not values and default is not None:
            values = [default]
        if len(values) not in (1, 2):
            raise self._error(layer, f"{name}: expected one value or two, got {len(values)}")
        if max(values) > _LARGEST_SIZE:
            raise self._error(layer, f"{name}: expected at most {_LARGEST_SIZE}")
        return [values[0], values[-1]]

    def _relu(self, layer: Any, output: str) -> int:
        if layer.relu_param.negative_slope:
            raise self._error(layer, "expected a negative_slope of 0")
        self._node("Relu", [self._bottom(layer)], output)
        return self.channels[layer.bottom[0]]

    def _pooling(self, layer: Any, output: str) -> int:
        param = layer.pooling_param
        operator = {0: "MaxPool", 1: "AveragePool"}.get(param.pool)
        if operator is None or param.kernel_size != param.stride or param.stride < 1:
            # Caffe cuts windows that reach over the border in a way that ONNX does not know.
            raise self._error(layer, "expected MAX or AVE pooling with a kernel of the stride")
        self._node(
            operator,
            [self._bottom(layer)],
            output,
            kernel_shape=[param.kernel_size] * 2,
            strides=[param.stride] * 2,
        )
        return self.channels[layer.bottom[0]]

    def _power(self, layer: Any, output: str) -> int:
        param = layer.power_param
        if param.power != 1 or param.shift:
            raise self._error(layer, "expected a power of 1 and a shift of 0")
        factor = self._constant(f"{layer.name}/scale", np.array(param.scale, np.float32))
        self._node("Mul", [self._bottom(layer), factor], output)
        return self.channels[layer.bottom[0]]

    def _softmax(self, layer: Any, output: str) -> int:
        self._node("Softmax", [self._bottom(layer)], output, axis=layer.softmax_param.axis)
        return self.channels[layer.bottom[0]]

    def _levels(self, layer: Any) -> list[_Level]:
        """Return the levels of a hypercolumn."""
        param = layer.hypercolumn_inner_product_param
        count = len(layer.bottom)

        def of_levels(field: str, default: float) -> list[float]:
            values = list(getattr(param, field)) or [default]
            if len(values) not in (1, count):
                raise self._error(
                    layer, f"{field}: expected 0, 1 or {count} values, got {len(values)}"
                )
            return values if len(values) == count else values * count

        levels: list[_Level] = []
        first = 0
        for blob, scale, multiplier, *offsets in zip(
            layer.bottom,
            of_levels("scale", 1),
            of_levels("activation_mult", 1),
            of_levels("offset_height", 0),
            of_levels("offset_width", 0),
            strict=True,
        ):
            if scale not in _SCALES or any(offset != (scale - 1) / 2 for offset in offsets):
                raise self._error(
                    layer,
                    f"level {blob!r}: expected a scale of 1, 2, 4 … {INPUT_MULTIPLE} and offsets "
                    f"of (scale - 1)/2, got scale {scale:g} "
                    f"and offsets {offsets[0]:g}, {offsets[1]:g}",
                )
            levels.append(_Level(blob, scale, multiplier, first, self.channels[blob]))
            first += self.channels[blob]
        return levels

    def _hypercolumn_inner_product(self, layer: Any, output: str) -> int:
        param = layer.hypercolumn_inner_product_param
        count, stride = int(param.num_output), int(param.stride)
        if count < 1 or stride not in _SCALES or not layer.bottom:
            raise self._error(
                layer,
                "expected levels, a num_output of at least 1 and a stride that divides "
                f"{INPUT_MULTIPLE}, got {len(layer.bottom)}, {count} and {stride}",
            )
        levels = self._levels(layer)
        shapes: list[tuple[int, ...]] = [(count, sum(level.channels for level in levels))]
        if param.bias_term:
            shapes.append((count,))
        weight, *bias = self._blobs(layer, *shapes)

        # Of the levels of one scale, and of all that are no coarser than the output, one convolution.
        total = None
        groups = self._groups(levels, stride)
        for number, (scale, own) in enumerate(groups, start=1):
            name = f"{layer.name}/part_{number}"
            maps = [
                self._resize(self.tensors[level.blob], level.scale / scale, f"{name}/{level.blob}")
                for level in own
            ]
            if len(maps) > 1:
                maps = [self._node("Concat", maps, f"{name}/levels", axis=1)]
            columns = [
                weight[:, level.first_channel : level.first_channel + level.channels]
                * np.float32(level.multiplier)
                for level in own
            ]
            kernel = np.concatenate(columns, axis=1)[:, :, None, None]
            inputs = [*maps, self._constant(f"{name}/weight", kernel)]
            if number == len(groups):
                inputs += [self._constant(f"{layer.name}/bias", values) for values in bias]
            part = self._node("Conv", inputs, f"{name}/projected", kernel_shape=[1, 1])
            part = self._resize(part, scale / stride, f"{name}/upsampled")
            total = part if total is None else self._node("Add", [total, part], f"{name}/sum")
        self.proto.node[-1].output[0] = output
        return count

    @staticmethod
    def _groups(levels: Sequence[_Level], stride: int) -> list[tuple[float, list[_Level]]]:
        """Return the scales at which levels are projected, the coarsest first, and these levels.

        A level whose channels do not fill onnxruntime's blocks, that is the grey input, is alone:
        beside it the others could not be read block by block.
        """
        groups: dict[tuple[float, bool], list[_Level]] = {}
        for level in levels:
            key = (max(level.scale, stride), level.channels % _BLOCK == 0)
            groups.setdefault(key, []).append(level)
        return [
            (scale, groups[scale, blocked])
            for scale, blocked in sorted(groups, key=lambda key: (-key[0], key[1]))
        ]

    def _resize(self, tensor: str, factor: float, output: str) -> str:
        """Interpolate bilinearly with half-pixel centres, clamped at the border."""
        if factor == 1:
            return tensor
        scales = self._constant(f"factor_{factor:g}", np.array([1, 1, factor, factor], np.float32))
        return self._node(
            "Resize",
            [tensor, "", scales],
            output,
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )
