"""What a deploy net costs: parameters, multiply-adds and memory of one forward pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

from caffe.proto import caffe_pb2

from autocolor.core.errors import InputError

_SAME_SHAPE = {"ReLU", "Softmax", "Power", "Dropout"}


@dataclass(frozen=True)
class Costs:
    """Costs of a net for one image.

    Attributes
    ----------
    parameters : int
        Weights and biases.
    multiply_adds : int
        Of convolutions and inner products. HypercolumnInnerProduct counts each level at the
        coarser of the level's resolution and the output's, where it is projected.
    activations : int
        Values in all blobs, gradients not counted.
    """

    parameters: int
    multiply_adds: int
    activations: int

    @property
    def bytes(self) -> int:
        """Parameters and blobs in four-byte floats; work space of layers is not counted."""
        return 4 * (self.parameters + self.activations)


def deploy_costs(net: caffe_pb2.NetParameter, height: int, width: int) -> Costs:
    """Count the costs of a deploy net on an image of a size.

    Parameters
    ----------
    net : NetParameter
        Of :mod:`autocolor.nets.colorization` or :mod:`autocolor.nets.edges`, one ``Input`` layer.
    height, width : int
        Of the input image, in pixels.

    Raises
    ------
    ValueError
        If the net has a layer of another type.
    """
    shapes: dict[str, tuple[int, int, int]] = {}
    parameters = multiply_adds = activations = 0
    for layer in net.layer:
        bottoms = [shapes[name] for name in layer.bottom]
        weights = 0
        if layer.type == "Input":
            shape = (layer.input_param.shape[0].dim[1], height, width)
        elif layer.type == "Convolution":
            convolution = layer.convolution_param
            kernel, pad = convolution.kernel_size[0], sum(convolution.pad)
            channels, rows, columns = bottoms[0]
            shape = (convolution.num_output, rows + 2 * pad - kernel + 1,
                     columns + 2 * pad - kernel + 1)  # fmt: skip
            weights = convolution.num_output * channels * kernel**2
            parameters += weights + convolution.num_output
            multiply_adds += weights * shape[1] * shape[2]
        elif layer.type == "Pooling":
            channels, rows, columns = bottoms[0]
            if layer.pooling_param.global_pooling:
                shape = (channels, 1, 1)
            else:  # Caffe rounds up
                stride = layer.pooling_param.stride
                shape = (channels, math.ceil(rows / stride), math.ceil(columns / stride))
        elif layer.type == "HypercolumnInnerProduct":
            product = layer.hypercolumn_inner_product_param
            scales = list(product.scale) or [1.0] * len(bottoms)
            finest = min(range(len(bottoms)), key=scales.__getitem__)
            shape = (
                product.num_output,
                math.ceil(round(bottoms[finest][1] * scales[finest]) / product.stride),
                math.ceil(round(bottoms[finest][2] * scales[finest]) / product.stride),
            )
            for channels, rows, columns in bottoms:
                weights = product.num_output * channels
                parameters += weights
                multiply_adds += weights * min(rows * columns, shape[1] * shape[2])
            parameters += product.num_output
        elif layer.type in _SAME_SHAPE:
            shape = bottoms[0]
        else:
            raise InputError(f"layer {layer.name}", f"no costs are known of type {layer.type}")
        if layer.top[0] not in shapes:  # not in place
            activations += math.prod(shape)
        shapes[layer.top[0]] = shape
    return Costs(parameters, multiply_adds, activations)
