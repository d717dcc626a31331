"""What deploy nets cost, parameters, multiply-adds and memory of one forward pass, and a page of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from caffe.proto import caffe_pb2

from autocolor.core.errors import InputError
from autocolor.nets.catalogue import EPOCH, Model
from autocolor.nets.colorization import Classifier, ColorizationNet, TrainingOptions
from autocolor.nets.solver import SolverOptions
from autocolor.nets.vgg16 import vgg16_levels

PICTURES = {
    "train.svg": (
        "hue_chroma_data-conv5_3",
        "train",
        "Training: a tap behind each level reads it at random locations",
    ),
    "test.svg": (
        "hue_chroma_data-conv5_3",
        "test",
        "Validation: the same hypercolumns, all levels read by one layer",
    ),
    "deploy.svg": (
        "hue_chroma_data-conv5_3",
        "deploy",
        "Deploy: a photo in, histograms of its hue and chroma on a dense grid out",
    ),
    "classifier.svg": ("vgg16_gray_classifier", "train", "The classifier of grey photos"),
    "edges.svg": ("edges_data-conv3_3", "train", "Edges: the same layers on another task"),
}
"""What ``tools/net_pictures.py`` draws into ``docs/networks/``: a model, one of its nets, and words."""

_SAME_SHAPE = {"ReLU", "Softmax", "Power", "Dropout"}


@dataclass(frozen=True)
class Costs:
    """Costs of a net for one image."""

    parameters: int  #: Weights and biases
    #: Of convolutions and inner products. HypercolumnInnerProduct counts each level at the coarser
    #: of the level's resolution and the output's, where it is projected.
    multiply_adds: int
    activations: int  #: Values in all blobs, gradients not counted

    @property
    def bytes(self) -> int:
        """Parameters and blobs in four-byte floats; work space of layers is not counted."""
        return 4 * (self.parameters + self.activations)


def deploy_costs(net: caffe_pb2.NetParameter, height: int, width: int) -> Costs:
    """Count the costs of a deploy net on an image of a size.

    The net is of :mod:`autocolor.nets.colorization` or :mod:`autocolor.nets.edges`, with one ``Input``.
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
            shape = (
                convolution.num_output,
                rows + 2 * pad - kernel + 1,
                columns + 2 * pad - kernel + 1,
            )
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


def models_table(models: Mapping[str, Model]) -> str:
    """Return ``prototxt/README.md``: what the models are and cost."""
    rows = []
    for name, model in models.items():
        network = model.network
        costs = deploy_costs(network.deploy_net(), 256, 256)
        channels = "–"
        if not isinstance(network, Classifier):
            width = network.width if isinstance(network, ColorizationNet) else 1
            channels = f"{sum(level.channels for level in vgg16_levels(network.levels, width)):,}"
        rows.append(
            f"| [`{name}`]({name}) | {model.description} | {channels} | "
            f"{costs.parameters / 1e6:.1f} M | {costs.bytes / 1e6:,.0f} MB | "
            f"{costs.multiply_adds / 1e9:.1f} G |"
        )
    table = "\n".join(rows)
    pictures = "\n\n".join(
        f"{words} ([`{model}`]({model}), `{phase}.prototxt`):\n\n![{words}](../docs/networks/{file})"
        for file, (model, phase, words) in PICTURES.items()
    )
    training, descent = TrainingOptions(""), SolverOptions("", "", "", 0)
    return f"""# The networks

Written by `tools/generate_prototxt.py` from `python/autocolor/`: do not edit. Each folder has `train`,
`test`, `deploy` and `solver` prototxt. Parameters, memory (parameters and blobs in float, without
gradients) and multiply-adds are of one forward pass of the deploy net on 256 × 256 pixels.

| folder | what | hypercolumn channels | parameters | memory | multiply-adds |
|---|---|---|---|---|---|
{table}

Colorizers are trained as follows unless the solver says otherwise: batches of {training.batch} images, random
crops of {training.crop} pixels, mirrored half of the time; {training.locations} random locations a crop; Xavier
initialisation of what is new; dropout {training.dropout} on `h_fc1` and between the fully connected layers of
VGG-16; stochastic gradient descent with momentum {descent.momentum}, weight decay {descent.weight_decay}, a learning rate that
falls linearly from {descent.base_learning_rate} to zero over {EPOCH:,} iterations, which is one epoch of 1.2 million images.

Other combinations, for example a joint histogram of 10 × 10 bins on three blocks, half as wide:

```
python tools/generate_prototxt.py --variant lab_joint --levels conv3_1..conv5_3 --bins 10 --width 0.5 \\
    --locations 256 --batch 4 --source my_lmdb --validation-source my_validation_lmdb --out my_model
```

[caffe time and caffe test](../docs/caffe_tools.md) has what Caffe's own tools say of each of them.

## Pictures

One of each kind. A box is a block of VGG-16 or a layer, with its type; ReLU and dropout are in the box of
their layer, and all taps of a hypercolumn are in one. pycaffe [draws](../docs/caffe_tools.md#draw) every layer and
blob of any net.

{pictures}
"""
