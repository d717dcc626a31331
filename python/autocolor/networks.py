"""Every network, described once; ``tools/generate_prototxt.py`` writes them to ``prototxt/``.

Needs pycaffe, whose ``NetSpec`` assembles the layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caffe import NetSpec
from caffe import layers as L
from caffe import params as P
from caffe.proto import caffe_pb2

from autocolor.constants import BINS, HIDDEN_UNITS, HUE_LOSS_WEIGHT, LOCATIONS_PER_IMAGE

# VGG-16's convolutional blocks: (convolutions, channels). A 2x2 max pooling lies between blocks.
VGG16_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
VGG16_CONVOLUTIONS = tuple(
    f"conv{block}_{index}"
    for block, (count, _) in enumerate(VGG16_BLOCKS, start=1)
    for index in range(1, count + 1)
)
# The edge detector's part of them, and where it finds its two LMDBs.
EDGE_BLOCKS = VGG16_BLOCKS[:3]
EDGE_HIDDEN_UNITS = 64
LIGHTNESS_LMDB = "lightness_lmdb"
EDGES_LMDB = "edges_lmdb"
_POOL_KERNEL = 2
_POOL_STRIDE = 2


@dataclass(frozen=True)
class Level:
    """One level of the hypercolumn.

    Attributes
    ----------
    name : str
        Blob of the network; ``data`` is the grey input.
    channels : int
    scale : int
        Input pixels between neighbouring cells.
    offset : float
        Input coordinate, in pixels, of the centre of cell 0 (the same along y and x).
    """

    name: str
    channels: int
    scale: int
    offset: float


def hypercolumn_levels(
    blocks: Sequence[tuple[int, int]] = VGG16_BLOCKS,
) -> tuple[Level, ...]:
    """Levels ``data``, ``conv1_1`` … ``conv5_3``: 4,225 channels (Table 2, row data..conv5.3).

    With the first blocks only, fewer: ``data`` … ``conv3_3`` of `EDGE_BLOCKS` have 1,153 channels.

    The geometry follows from the layers: a 3x3 convolution with padding 1 leaves it alone, and a
    pooling of kernel k and stride s moves the first cell's centre by (k - 1)/2 cells and makes the
    scale s times larger, so that offset = (scale - 1)/2 throughout.
    """
    scale, offset = 1, 0.0
    levels = [Level("data", 1, scale, offset)]
    for block, (count, channels) in enumerate(blocks, start=1):
        if block > 1:
            offset += scale * (_POOL_KERNEL - 1) / 2
            scale *= _POOL_STRIDE
        levels += [
            Level(f"conv{block}_{index}", channels, scale, offset)
            for index in range(1, count + 1)
        ]
    return tuple(levels)


@dataclass(frozen=True)
class TrainingOptions:
    """What may differ between training nets of one model.

    Attributes
    ----------
    source : str
        LMDB of colour images, as ``data_prep/build_lmdb.py`` writes it.
    batch : int
        Images a batch.
    crop : int
        Side of the square random crop, in pixels.
    locations : int
        Hypercolumns an image (section 3.5).
    frozen : bool
        Keep the VGG-16 layers as they are: an iteration is then a forward pass and the update of
        the head. The paper trains end to end.
    hypercolumn_dropout, dropout : float
        Dropout ratio on the hypercolumn (0 leaves the layer out; the paper has none) and on
        ``h_fc1``.
    """

    source: str
    batch: int = 8
    crop: int = 224
    locations: int = LOCATIONS_PER_IMAGE
    frozen: bool = False
    hypercolumn_dropout: float = 0.0
    dropout: float = 0.5


def vgg16_gray_features() -> caffe_pb2.NetParameter:
    """Convolutional layers alone: ``data`` (1, 1, H, W), grey in [0, 1], to ``conv5_3``."""
    net = NetSpec()
    net.data = _image_input()
    _add_vgg16(net, net.data, frozen=False)
    return _named(net, "vgg16_gray_features")


def training_net(options: TrainingOptions, phase: str) -> caffe_pb2.NetParameter:
    """Hue/chroma colorizer on sparse hypercolumns, trained with Eq. 3.

    Parameters
    ----------
    options : TrainingOptions
    phase : {"train", "test"}
        A test net takes the centre crop, does not mirror and reports the two losses.

    Raises
    ------
    ValueError
        If `phase` is neither.
    """
    if phase not in ("train", "test"):
        raise ValueError(f"phase: expected 'train' or 'test', got {phase!r}")
    net = NetSpec()
    net.image = L.Data(
        source=options.source,
        backend=P.Data.LMDB,
        batch_size=options.batch,
        transform_param=dict(
            crop_size=options.crop, mirror=phase == "train", scale=1 / 255, force_color=True
        ),
    )
    net.data, net.colour = L.ColorSpace(
        net.image, ntop=2, color_space_param=dict(color_space=0)
    )
    # Uniform over the crop's area; the target is read at the nearest pixel.
    net.locations = L.DummyData(
        shape=dict(dim=[options.batch, options.locations, 2]),
        data_filler=dict(type="uniform", min=-0.5, max=options.crop - 0.5),
    )
    _add_vgg16(net, net.data, frozen=options.frozen)

    levels = hypercolumn_levels()
    net.hypercolumn = L.SparseHypercolumn(
        net.locations,
        *(net[level.name] for level in levels),
        sparse_hypercolumn_param=_geometry(levels),
    )
    if options.hypercolumn_dropout > 0:
        net.hypercolumn_dropout = L.Dropout(
            net.hypercolumn, dropout_ratio=options.hypercolumn_dropout, in_place=True
        )
    net.h_fc1 = L.InnerProduct(
        net.hypercolumn, num_output=HIDDEN_UNITS, param=_learned(), **_fillers()
    )
    net.h_relu1 = L.ReLU(net.h_fc1, in_place=True)
    if options.dropout > 0:
        net.h_dropout1 = L.Dropout(net.h_fc1, dropout_ratio=options.dropout, in_place=True)
    for head in ("h", "c"):
        net[f"prediction_{head}"] = L.InnerProduct(
            net.h_fc1, num_output=BINS, param=_learned(), **_fillers()
        )

    net.hue, net.chroma = L.Slice(net.colour, ntop=2, axis=1)
    for head, channel in (("h", net.hue), ("c", net.chroma)):
        net[f"target_{head}"] = L.ColorHistogram(
            channel, net.locations, color_histogram_param=dict(bins=BINS)
        )
    # y_C of Eq. 3, the chroma at each location.
    net.chroma_weight = L.SparseHypercolumn(net.locations, net.chroma)
    net.loss_h = L.SoftmaxKLDivergenceLoss(
        net.prediction_h, net.target_h, net.chroma_weight, loss_weight=HUE_LOSS_WEIGHT
    )
    net.loss_c = L.SoftmaxKLDivergenceLoss(net.prediction_c, net.target_c, loss_weight=1)
    return _named(net, f"hue_chroma_{phase}")


def deploy_net(stride: int = 4) -> caffe_pb2.NetParameter:
    """Dense inference with the weights of `training_net`, any input size.

    Input ``data`` (1, 1, H, W), grey in [0, 1]; outputs ``hue`` and ``chroma``, histograms
    (1, K, ceil(H/stride), ceil(W/stride)) at the input coordinates j*stride + (stride - 1)/2.
    """
    net = NetSpec()
    net.data = _image_input()
    _add_vgg16(net, net.data, frozen=False)
    levels = hypercolumn_levels()
    net.h_fc1 = L.HypercolumnInnerProduct(
        *(net[level.name] for level in levels),
        hypercolumn_inner_product_param=dict(
            num_output=HIDDEN_UNITS, stride=stride, **_geometry(levels)
        ),
    )
    net.h_relu1 = L.ReLU(net.h_fc1, in_place=True)
    for head, top in (("h", "hue"), ("c", "chroma")):
        # On one level at scale 1 this is a 1x1 convolution whose weights have InnerProduct's shape.
        net[f"prediction_{head}"] = L.HypercolumnInnerProduct(
            net.h_fc1, hypercolumn_inner_product_param=dict(num_output=BINS)
        )
        net[top] = L.Softmax(net[f"prediction_{head}"], axis=1)
    return _named(net, "hue_chroma_deploy")


@dataclass(frozen=True)
class EdgeTrainingOptions:
    """What may differ between training nets of the edge detector.

    Attributes
    ----------
    source : str
        Folder of two LMDBs of `autocolor.edges`, `LIGHTNESS_LMDB` and `EDGES_LMDB`.
    side : int
        Of their square images, in pixels. They are read whole: random crops of two ``Data`` layers
        would not be of the same place.
    batch : int
        Images a batch.
    locations : int
        Hypercolumns an image.
    """

    source: str
    side: int = 128
    batch: int = 8
    locations: int = 512


def edge_training_net(options: EdgeTrainingOptions, phase: str) -> caffe_pb2.NetParameter:
    """Edge or not, at sparse hypercolumns on a frozen VGG-16, trained with Eq. 2.

    The colorizer's layers with other data and another target: one-hot over two bins.

    Parameters
    ----------
    options : EdgeTrainingOptions
    phase : {"train", "test"}
        Names the net; nothing else differs.
    """
    net = NetSpec()
    for top, folder in (("data", LIGHTNESS_LMDB), ("edges", EDGES_LMDB)):
        net[top] = L.Data(
            source=f"{options.source}/{folder}",
            backend=P.Data.LMDB,
            batch_size=options.batch,
            transform_param=dict(scale=1 / 255),
        )
    net.locations = L.DummyData(
        shape=dict(dim=[options.batch, options.locations, 2]),
        data_filler=dict(type="uniform", min=-0.5, max=options.side - 0.5),
    )
    _add_vgg16(net, net.data, frozen=True, blocks=EDGE_BLOCKS)
    levels = hypercolumn_levels(EDGE_BLOCKS)
    net.hypercolumn = L.SparseHypercolumn(
        net.locations,
        *(net[level.name] for level in levels),
        sparse_hypercolumn_param=_geometry(levels),
    )
    net.fc1 = L.InnerProduct(
        net.hypercolumn, num_output=EDGE_HIDDEN_UNITS, param=_learned(), **_fillers()
    )
    net.relu1 = L.ReLU(net.fc1, in_place=True)
    net.prediction = L.InnerProduct(net.fc1, num_output=2, param=_learned(), **_fillers())
    net.target = L.ColorHistogram(net.edges, net.locations, color_histogram_param=dict(bins=2))
    net.loss_edges = L.SoftmaxKLDivergenceLoss(net.prediction, net.target)
    return _named(net, f"edges_{phase}")


def edge_deploy_net() -> caffe_pb2.NetParameter:
    """Dense inference with the weights of `edge_training_net`, any input size.

    Input ``data`` (1, 1, H, W), grey in [0, 1]; output ``probability`` (1, 2, H, W), of no edge and
    of an edge at every pixel.
    """
    net = NetSpec()
    net.data = _image_input()
    _add_vgg16(net, net.data, frozen=False, blocks=EDGE_BLOCKS)
    levels = hypercolumn_levels(EDGE_BLOCKS)
    net.fc1 = L.HypercolumnInnerProduct(
        *(net[level.name] for level in levels),
        hypercolumn_inner_product_param=dict(num_output=EDGE_HIDDEN_UNITS, **_geometry(levels)),
    )
    net.relu1 = L.ReLU(net.fc1, in_place=True)
    net.prediction = L.HypercolumnInnerProduct(
        net.fc1, hypercolumn_inner_product_param=dict(num_output=2)
    )
    net.probability = L.Softmax(net.prediction, axis=1)
    return _named(net, "edges_deploy")


@dataclass(frozen=True)
class SolverOptions:
    """Stochastic gradient descent with momentum and a rate that falls linearly to zero.

    Attributes
    ----------
    train_net, test_net : str
        Paths of the prototxt files, relative to where ``caffe train`` is started.
    snapshot_prefix : str
    iterations : int
    base_learning_rate, momentum, weight_decay : float
    test_iterations, test_interval, snapshot_interval, display_interval : int
    seed : int
    """

    train_net: str
    test_net: str
    snapshot_prefix: str
    iterations: int
    base_learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    test_iterations: int = 8
    test_interval: int = 500
    snapshot_interval: int = 1000
    display_interval: int = 20
    seed: int = 1


def solver(options: SolverOptions) -> caffe_pb2.SolverParameter:
    """Solver of `options`, for ``caffe train -solver`` and pycaffe alike."""
    parameter = caffe_pb2.SolverParameter()
    parameter.train_net = options.train_net
    parameter.test_net.append(options.test_net)
    parameter.test_iter.append(options.test_iterations)
    parameter.test_interval = options.test_interval
    parameter.type = "SGD"
    parameter.base_lr = options.base_learning_rate
    parameter.lr_policy = "poly"
    parameter.power = 1.0
    parameter.momentum = options.momentum
    parameter.weight_decay = options.weight_decay
    parameter.max_iter = options.iterations
    parameter.display = options.display_interval
    parameter.average_loss = options.display_interval
    parameter.snapshot = options.snapshot_interval
    parameter.snapshot_prefix = options.snapshot_prefix
    parameter.random_seed = options.seed
    parameter.solver_mode = caffe_pb2.SolverParameter.CPU
    return parameter


def _image_input() -> Any:
    return L.Input(shape=dict(dim=[1, 1, 256, 256]))


def _named(net: NetSpec, name: str) -> caffe_pb2.NetParameter:
    parameter = net.to_proto()
    parameter.name = name
    return parameter


def _learned() -> list[dict[str, float]]:
    """Weights decay, biases learn at twice the rate and do not (Caffe's custom for VGG-16)."""
    return [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]


def _fixed() -> list[dict[str, float]]:
    return [dict(lr_mult=0, decay_mult=0)] * 2


def _fillers() -> dict[str, dict[str, Any]]:
    return dict(weight_filler=dict(type="xavier"), bias_filler=dict(type="constant", value=0))


def _geometry(levels: Sequence[Level]) -> dict[str, list[float]]:
    offsets = [level.offset for level in levels]
    return dict(
        scale=[level.scale for level in levels], offset_height=offsets, offset_width=offsets
    )


def _add_vgg16(
    net: NetSpec,
    bottom: Any,
    frozen: bool,
    blocks: Sequence[tuple[int, int]] = VGG16_BLOCKS,
) -> None:
    """Add conv1_1 … conv5_3 with in-place ReLUs, so that the hypercolumn reads rectified maps."""
    for block, (count, channels) in enumerate(blocks, start=1):
        if block > 1:
            net[f"pool{block - 1}"] = L.Pooling(
                bottom, pool=P.Pooling.MAX, kernel_size=_POOL_KERNEL, stride=_POOL_STRIDE
            )
            bottom = net[f"pool{block - 1}"]
        for index in range(1, count + 1):
            name = f"conv{block}_{index}"
            net[name] = L.Convolution(
                bottom,
                num_output=channels,
                kernel_size=3,
                pad=1,
                param=_fixed() if frozen else _learned(),
                **_fillers(),
            )
            bottom = net[name]
            net[f"relu{block}_{index}"] = L.ReLU(bottom, in_place=True)
