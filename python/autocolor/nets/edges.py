"""The edge detector: the colorizer's layers on another task, other data and another target. Needs pycaffe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from caffe import NetSpec
from caffe import layers as L
from caffe import params as P
from caffe.proto import caffe_pb2

from autocolor.nets.colorization import TrainingOptions, check_phase
from autocolor.nets.vgg16 import (
    add_vgg16,
    fillers,
    geometry,
    image_input,
    named,
    param_multipliers,
    sparse_hypercolumn,
    vgg16_levels,
)

LIGHTNESS_LMDB = "lightness_lmdb"
EDGES_LMDB = "edges_lmdb"


@dataclass(frozen=True)
class EdgeDetector:
    """Edge or not, at sparse hypercolumns on a frozen VGG-16-gray, trained with Eq. 2."""

    TRAINING_OPTIONS: ClassVar[frozenset[str]] = frozenset({"source", "batch", "crop", "locations"})

    levels: str = "data..conv3_3"  #: Of the hypercolumn, ``first..last``
    hidden: int = 64  #: Channels of the hidden layer

    def training_net(self, options: TrainingOptions, phase: str) -> caffe_pb2.NetParameter:
        """Return the net that ``caffe train`` runs; its target is one-hot over two bins.

        Parameters
        ----------
        options : TrainingOptions
            `source` is a folder with the LMDBs `LIGHTNESS_LMDB` and `EDGES_LMDB` of
            `tools/train_edges.py`, of squares of side `crop`. They are read whole: random crops of two
            ``Data`` layers would not be of the same place. There is no dropout.
        phase : {"train", "test"}
            Names the net; nothing else differs.
        """
        check_phase(phase)
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
            data_filler=dict(type="uniform", min=-0.5, max=options.crop - 0.5),
        )
        levels = vgg16_levels(self.levels)
        add_vgg16(net, net.data, levels[-1].name, rate=0)
        net.hypercolumn = sparse_hypercolumn(net, levels)
        net.fc1 = L.InnerProduct(
            net.hypercolumn, num_output=self.hidden, param=param_multipliers(), **fillers()
        )
        net.relu1 = L.ReLU(net.fc1, in_place=True)
        net.prediction = L.InnerProduct(
            net.fc1, num_output=2, param=param_multipliers(), **fillers()
        )
        net.target = L.ColorHistogram(net.edges, net.locations, color_histogram_param=dict(bins=2))
        net.loss_edges = L.SoftmaxKLDivergenceLoss(net.prediction, net.target)
        return named(net, f"edges_{phase}")

    def deploy_net(self) -> caffe_pb2.NetParameter:
        """Dense inference with the weights of the training net, any input size.

        Input ``data`` (1, 1, H, W), grey in [0, 1]; output ``probability`` (1, 2, H, W), of no edge
        and of an edge at every pixel.
        """
        net = NetSpec()
        net.data = image_input()
        levels = vgg16_levels(self.levels)
        add_vgg16(net, net.data, levels[-1].name)
        net.fc1 = L.HypercolumnInnerProduct(
            *(net[level.name] for level in levels),
            hypercolumn_inner_product_param=dict(num_output=self.hidden, **geometry(levels)),
        )
        net.relu1 = L.ReLU(net.fc1, in_place=True)
        net.prediction = L.HypercolumnInnerProduct(
            net.fc1, hypercolumn_inner_product_param=dict(num_output=2)
        )
        net.probability = L.Softmax(net.prediction, axis=1)
        return named(net, "edges_deploy")
