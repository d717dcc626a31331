"""The networks of the paper, described once; ``prototxt/`` is written from here. Needs pycaffe."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

from caffe import NetSpec
from caffe import layers as L
from caffe import params as P
from caffe.proto import caffe_pb2

from autocolor.core.constants import (
    HIDDEN_UNITS,
    HUE_LOSS_WEIGHT,
    LOCATIONS_PER_IMAGE,
    QUANTILE_SIGMA,
)
from autocolor.core.errors import InputError
from autocolor.core.variants import VARIANTS, find_variant
from autocolor.nets.hypercolumn_taps import use_taps
from autocolor.nets.vgg16 import (
    Level,
    add_convolution,
    add_vgg16,
    fillers,
    geometry,
    image_input,
    named,
    param_multipliers,
    scaled_width,
    sparse_hypercolumn,
    vgg16_levels,
)
from autocolor.runtime.model_folder import INPUT_MULTIPLE

_SUFFIXES = {"hue": "h", "chroma": "c"}  # of the layers' names; a and b are themselves
_HUE_CHROMA, _LAB = 0, 1  # ColorSpaceParameter
_GAUSSIAN_QUANTILE = 1  # ColorHistogramParameter


@dataclass(frozen=True)
class TrainingOptions:
    """What may differ between training nets of one network."""

    source: str  #: LMDB of colour images, as ``data_prep/build_lmdb.py`` writes it
    batch: int = 8  #: Images a batch
    crop: int = 224  #: Side of the square random crop, in pixels
    locations: int = LOCATIONS_PER_IMAGE  #: Hypercolumns an image (section 3.5)
    #: Factor on the learning rate of the VGG-16 layers. At 0 they stay as they are, and an
    #: iteration is a forward pass and the update of the head; the paper trains end to end.
    backbone_rate: float = 1.0
    #: Dropout ratio on the hypercolumn (0 leaves the layer out; the paper has none), and on
    #: ``h_fc1`` and between the fully connected layers of VGG-16
    hypercolumn_dropout: float = 0.0
    dropout: float = 0.5


def check_phase(phase: str) -> None:
    """Raise `ValueError` if `phase` is neither ``train`` nor ``test``."""
    if phase not in ("train", "test"):
        raise InputError("phase", f"expected 'train' or 'test', got {phase!r}")


def _image_data(options: TrainingOptions, phase: str, **more: Any) -> Any:
    """Random crops, mirrored half of the time, in training; centre crops in a test."""
    return L.Data(
        source=options.source,
        backend=P.Data.LMDB,
        batch_size=options.batch,
        transform_param=dict(
            crop_size=options.crop, mirror=phase == "train", scale=1 / 255, force_color=True
        ),
        **more,
    )


def hypercolumn_net(levels: str, locations: int, width: float = 1.0) -> caffe_pb2.NetParameter:
    """Return the net from ``data`` (1, 1, H, W) and ``locations`` (1, P, 2) to ``hypercolumn`` (P, C).

    For hypercolumns that are computed once and kept: see :mod:`autocolor.training.feature_cache`.
    """
    net = NetSpec()
    net.data = image_input()
    net.locations = L.Input(shape=dict(dim=[1, locations, 2]))
    chosen = vgg16_levels(levels, width)
    add_vgg16(net, net.data, chosen[-1].name, width=width)
    net.hypercolumn = sparse_hypercolumn(net, chosen)
    return named(net, "hypercolumns")


def _add_pooled(net: NetSpec, level: Level, stride: int) -> Level:
    """Average a level to a stride; one that is as coarse already is left alone."""
    factor = stride // level.scale
    if factor <= 1:
        return level
    name = f"{level.name}_pooled"
    net[name] = L.Pooling(net[level.name], pool=P.Pooling.AVE, kernel_size=factor, stride=factor)
    return Level(name, level.channels, stride, level.offset + level.scale * (factor - 1) / 2)


class Head(NamedTuple):
    """An output of a colorizer: a histogram, or where `bins` is 0 the colour itself."""

    suffix: str  # of prediction_, target_ and loss_
    output: str  # blob of the deploy net
    channels: int  # of the prediction
    bins: int  # a channel of the histogram


@dataclass(frozen=True)
class ColorizationNet:
    """A colorizer on sparse hypercolumns of VGG-16-gray (section 3.5)."""

    TRAINING_OPTIONS: ClassVar[frozenset[str]] = frozenset(
        field.name for field in fields(TrainingOptions)
    )

    #: {"hue_chroma", "lab_marginal", "lab_joint", "lab_l2"}. What it predicts (Table 1): histograms
    #: of hue and chroma (Eq. 3), of a and b, of a x b (Eq. 2), or a and b themselves (Eq. 1).
    variant: str = "hue_chroma"
    levels: str = "data..fc7"  #: Levels of the hypercolumn, ``first..last`` (Table 2)
    bins: int = 0  #: Of each channel; 0 stands for the paper's 32, or 16 for a joint histogram
    width: float = 1.0  #: Factor on the channels of all hidden layers

    def __post_init__(self) -> None:
        find_variant(self.variant)
        if self.bins < 0:
            raise InputError("bins", f"expected a positive number, got {self.bins}")
        vgg16_levels(self.levels, self.width)

    @property
    def heads(self) -> tuple[Head, ...]:
        """Its outputs."""
        variant = VARIANTS[self.variant]
        bins = (self.bins or variant.bins) if variant.is_histogram else 0
        return tuple(
            Head(_SUFFIXES.get(name, name), name, variant.channels(bins), bins)
            for name in variant.outputs
        )

    def training_net(self, options: TrainingOptions, phase: str) -> caffe_pb2.NetParameter:
        """Return the net that ``caffe train`` runs.

        Where VGG-16 learns, each level is read by a HypercolumnTap, which saves the gradients that
        Caffe would keep twice; where it does not, by one SparseHypercolumn.

        Parameters
        ----------
        options : TrainingOptions
        phase : {"train", "test"}
            A test net takes the centre crop, does not mirror and reports the losses.
        """
        check_phase(phase)
        net = NetSpec()
        net.image = _image_data(options, phase)
        self._add_colour(net)
        # Uniform over the crop's area; a histogram's target is read at the nearest pixel.
        net.locations = L.DummyData(
            shape=dict(dim=[options.batch, options.locations, 2]),
            data_filler=dict(type="uniform", min=-0.5, max=options.crop - 0.5),
        )
        levels = vgg16_levels(self.levels, self.width)
        last, rate = levels[-1].name, options.backbone_rate
        add_vgg16(net, net.data, last, width=self.width, rate=rate, dropout=options.dropout)
        net.hypercolumn = sparse_hypercolumn(net, levels)
        self._add_head(net, net.hypercolumn, options)
        self._add_losses(net)
        parameter = named(net, f"{self.variant}_{phase}")
        if options.backbone_rate == 0 or phase == "test":
            return parameter
        return use_taps(
            parameter,
            "hypercolumn",
            options.batch * options.locations,
            [level.channels for level in levels],
            share_gradient=True,
        )

    def head_training_net(
        self, options: TrainingOptions, cached_levels: str, phase: str
    ) -> caffe_pb2.NetParameter:
        """Return a net that trains the head alone, on hypercolumns that are computed already.

        It gives the losses, and its weights the predictions, of :meth:`training_net` with frozen
        VGG-16 layers, at a small part of the cost.

        Parameters
        ----------
        options : TrainingOptions
            ``source`` is the list of HDF5 files that :mod:`autocolor.training.feature_cache` writes, ``batch``
            the number of hypercolumns; what concerns images is not used.
        cached_levels : str
            Levels of the cached hypercolumns, ``first..last``; they include the network's own.
        phase : {"train", "test"}
            Whether the hypercolumns are shuffled.
        """
        check_phase(phase)
        cached = vgg16_levels(cached_levels, self.width)
        own = vgg16_levels(self.levels, self.width)
        if not set(own) <= set(cached):
            raise InputError(
                "cached_levels", f"expected {self.levels} or more, got {cached_levels}"
            )
        net = NetSpec()
        net.cached_hypercolumn, net.image = L.HDF5Data(
            ntop=2, source=options.source, batch_size=options.batch, shuffle=phase == "train"
        )
        self._add_colour(net)
        net.silence = L.Silence(net.data, ntop=0)
        # Each hypercolumn has an image of one pixel, its own.
        net.locations = L.DummyData(
            shape=dict(dim=[options.batch, 1, 2]), data_filler=dict(type="constant", value=0)
        )
        hypercolumn = net.cached_hypercolumn
        first = sum(level.channels for level in cached[: cached.index(own[0])])
        last = first + sum(level.channels for level in own)
        ends = [end for end in (first, last) if 0 < end < sum(level.channels for level in cached)]
        if ends:
            parts = L.Slice(
                hypercolumn, ntop=len(ends) + 1, slice_param=dict(axis=1, slice_point=ends)
            )
            unread = []
            for index, part in enumerate(parts):
                if index == (1 if first else 0):
                    net.hypercolumn = hypercolumn = part
                else:
                    net[f"unread{index}"] = part
                    unread.append(part)
            net.silence_unread = L.Silence(*unread, ntop=0)
        self._add_head(net, hypercolumn, options)
        self._add_losses(net)
        return named(net, f"{self.variant}_head_{phase}")

    def _add_colour(self, net: NetSpec) -> None:
        """Add the grey input ``data`` and ``colour`` of the colour ``image``."""
        space = _HUE_CHROMA if VARIANTS[self.variant].has_hue else _LAB
        net.data, net.colour = L.ColorSpace(
            net.image, ntop=2, color_space_param=dict(color_space=space)
        )

    def _add_head(self, net: NetSpec, hypercolumn: Any, options: TrainingOptions) -> None:
        """Add ``h_fc1`` and the predictions, from hypercolumns (M, C)."""
        if options.hypercolumn_dropout > 0:
            net.hypercolumn_dropout = L.Dropout(
                hypercolumn, dropout_ratio=options.hypercolumn_dropout, in_place=True
            )
        net.h_fc1 = L.InnerProduct(
            hypercolumn,
            num_output=scaled_width(HIDDEN_UNITS, self.width),
            param=param_multipliers(),
            **fillers(),
        )
        net.h_relu1 = L.ReLU(net.h_fc1, in_place=True)
        if options.dropout > 0:
            net.h_dropout1 = L.Dropout(net.h_fc1, dropout_ratio=options.dropout, in_place=True)
        for head in self.heads:
            net[f"prediction_{head.suffix}"] = L.InnerProduct(
                net.h_fc1, num_output=head.channels, param=param_multipliers(), **fillers()
            )

    def _add_losses(self, net: NetSpec) -> None:
        variant = VARIANTS[self.variant]
        predictions = [net[f"prediction_{head.suffix}"] for head in self.heads]
        if not variant.is_histogram:
            # Eq. 1 in units of sigma, so that the loss is of the order of the others.
            net.target_ab = L.SparseHypercolumn(
                net.locations,
                net.colour,
                sparse_hypercolumn_param=dict(activation_mult=1 / QUANTILE_SIGMA),
            )
            net.loss_ab = L.EuclideanLoss(predictions[0], net.target_ab)
            return
        binning: dict[str, float] = dict(bins=self.heads[0].bins)
        if not variant.has_hue:
            binning |= dict(binning=_GAUSSIAN_QUANTILE, sigma=QUANTILE_SIGMA)
        if variant.is_joint:
            net.target_ab = L.ColorHistogram(
                net.colour, net.locations, color_histogram_param=dict(joint=True, **binning)
            )
            net.loss_ab = L.SoftmaxKLDivergenceLoss(predictions[0], net.target_ab)
            return
        first, second = variant.outputs
        net[first], net[second] = L.Slice(net.colour, ntop=2, axis=1)
        for head in self.heads:
            net[f"target_{head.suffix}"] = L.ColorHistogram(
                net[head.output], net.locations, color_histogram_param=binning
            )
        targets = [net[f"target_{head.suffix}"] for head in self.heads]
        if not variant.has_hue:
            net.loss_a = L.SoftmaxKLDivergenceLoss(predictions[0], targets[0], loss_weight=1)
            net.loss_b = L.SoftmaxKLDivergenceLoss(predictions[1], targets[1], loss_weight=1)
            return
        # y_C of Eq. 3, the chroma of the pixel whose hue and chroma are the targets.
        net.chroma_weight = L.SparseHypercolumn(
            net.locations, net.chroma, sparse_hypercolumn_param=dict(nearest=True)
        )
        net.loss_h = L.SoftmaxKLDivergenceLoss(
            predictions[0], targets[0], net.chroma_weight, loss_weight=HUE_LOSS_WEIGHT
        )
        net.loss_c = L.SoftmaxKLDivergenceLoss(predictions[1], targets[1], loss_weight=1)

    def deploy_net(self, stride: int = 4, average_pooling: bool = False) -> caffe_pb2.NetParameter:
        """Dense inference with the weights of the training net, any input size.

        Levels that are finer than the output are read at the output's positions, as in training, or
        with `average_pooling` averaged over stride x stride pixels first, as the authors' own
        deploy net does.

        Input ``data`` (1, 1, H, W), grey in [0, 1]. The outputs are (1, K, ceil(H/stride),
        ceil(W/stride)) at the input coordinates j*stride + (stride - 1)/2: the histograms ``hue``
        and ``chroma``, or ``a`` and ``b``, or ``ab`` with index (bin of a) * bins + (bin of b); for
        ``lab_l2`` ``ab`` are a and b themselves.
        """
        net = NetSpec()
        net.data = image_input()
        levels = vgg16_levels(self.levels, self.width)
        add_vgg16(net, net.data, levels[-1].name, width=self.width)
        if average_pooling:
            levels = tuple(_add_pooled(net, level, stride) for level in levels)
        self._add_dense_head(net, levels, stride)
        return named(net, f"{self.variant}_deploy")

    def head_deploy_net(self, stride: int = 4) -> caffe_pb2.NetParameter:
        """Return the part of :meth:`deploy_net` after VGG-16, whose levels are its inputs.

        So several heads can read the levels of one forward pass. Level l has the input blob of its
        name, (1, C_l, H/scale_l, W/scale_l).
        """
        net = NetSpec()
        levels = vgg16_levels(self.levels, self.width)
        for level in levels:
            side = max(1, INPUT_MULTIPLE // level.scale)
            net[level.name] = L.Input(shape=dict(dim=[1, level.channels, side, side]))
        self._add_dense_head(net, levels, stride)
        parameter = named(net, f"{self.variant}_head_deploy")
        for layer in parameter.layer:
            if layer.type == "Input":
                # Caffe matches weights by the layers' names, and these inputs have none.
                layer.name = f"input_{layer.name}"
        return parameter

    def _add_dense_head(self, net: NetSpec, levels: tuple[Level, ...], stride: int) -> None:
        net.h_fc1 = L.HypercolumnInnerProduct(
            *(net[level.name] for level in levels),
            hypercolumn_inner_product_param=dict(
                num_output=scaled_width(HIDDEN_UNITS, self.width), stride=stride, **geometry(levels)
            ),
        )
        net.h_relu1 = L.ReLU(net.h_fc1, in_place=True)
        for head in self.heads:
            # On one level at scale 1 this is a 1x1 convolution with weights of InnerProduct's shape.
            net[f"prediction_{head.suffix}"] = L.HypercolumnInnerProduct(
                net.h_fc1, hypercolumn_inner_product_param=dict(num_output=head.channels)
            )
            prediction = net[f"prediction_{head.suffix}"]
            if head.bins:
                net[head.output] = L.Softmax(prediction, axis=1)
            else:
                net[head.output] = L.Power(prediction, scale=QUANTILE_SIGMA)


@dataclass(frozen=True)
class Classifier:
    """VGG-16-gray with ``fc8``, for the epoch of grey ImageNet before colorization (section 3.5).

    It is fully convolutional; the scores of a larger image are averaged.
    """

    TRAINING_OPTIONS: ClassVar[frozenset[str]] = frozenset(
        {"source", "batch", "crop", "backbone_rate", "dropout"}
    )

    classes: int = 1000
    width: float = 1.0  #: Factor on the channels of all hidden layers

    def _add_scores(self, net: NetSpec, dropout: float = 0.0, rate: float = 1.0) -> None:
        bottom = add_vgg16(
            net, net.data, "fc7", width=self.width, dropout=dropout, fc6_pad=0, rate=rate
        )
        if dropout > 0:
            net.dropout7 = L.Dropout(bottom, dropout_ratio=dropout)
            bottom = net.dropout7
        add_convolution(net, "fc8", bottom, self.classes, kernel=1, pad=0)
        net.pool8 = L.Pooling(net.fc8, pool=P.Pooling.AVE, global_pooling=True)

    def training_net(self, options: TrainingOptions, phase: str) -> caffe_pb2.NetParameter:
        """Return the net that ``caffe train`` runs, on an LMDB of labelled datums; crops from 224 on."""
        check_phase(phase)
        if options.crop < 224:
            raise InputError("crop", f"expected at least 224, got {options.crop}")
        net = NetSpec()
        net.image, net.label = _image_data(options, phase, ntop=2)
        net.data, net.colour = L.ColorSpace(net.image, ntop=2)
        net.silence = L.Silence(net.colour, ntop=0)
        self._add_scores(net, options.dropout, options.backbone_rate)
        net.loss = L.SoftmaxWithLoss(net.pool8, net.label)
        if phase == "test":
            for top in (1, 5) if self.classes > 5 else (1,):
                net[f"accuracy_top{top}"] = L.Accuracy(
                    net.pool8, net.label, accuracy_param=dict(top_k=top)
                )
        return named(net, f"vgg16_gray_classifier_{phase}")

    def deploy_net(self) -> caffe_pb2.NetParameter:
        """Return the net from ``data`` to ``prob`` (1, classes, 1, 1).

        ``data`` is (1, 1, H, W), grey in [0, 1], with sides of at least 224.
        """
        net = NetSpec()
        net.data = image_input()
        self._add_scores(net)
        net.prob = L.Softmax(net.pool8)
        return named(net, "vgg16_gray_classifier_deploy")
