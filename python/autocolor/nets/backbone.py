"""VGG-16-gray run once for a photo, and heads that share its levels. Needs pycaffe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from caffe.proto import caffe_pb2

from autocolor.core.arrays import FloatArray
from autocolor.nets.colorization import ColorizationNet
from autocolor.nets.vgg16 import vgg16_gray_features, vgg16_levels
from autocolor.runtime.caffe_net import load_weights
from autocolor.runtime.caffe_runtime import import_caffe, make_net
from autocolor.runtime.model_folder import Manifest


class Backbone:
    """VGG-16-gray up to a level.

    Parameters
    ----------
    weights : Path
        A caffemodel with its layers; others are left alone.
    last : str
        Last level, ``conv1_1`` … ``fc7``.
    device : str
        Where Caffe runs.
    width : float
        Factor on the channels.

    Raises
    ------
    ModelError
        If there are no such weights.
    """

    def __init__(
        self, weights: Path, last: str = "conv5_3", device: str = "cpu", width: float = 1.0
    ) -> None:
        self.levels = tuple(level.name for level in vgg16_levels(f"data..{last}", width))
        self._device = device
        self._net = _load(vgg16_gray_features(last, width), weights, device)
        self._lightness: FloatArray | None = None

    def features(self, lightness: FloatArray) -> dict[str, npt.NDArray[np.float32]]:
        """Return the levels of a grey image; those of the image before are kept, not run again.

        Parameters
        ----------
        lightness : (H, W) float array in [0, 1]
            As the network is to see it; sides that are multiples of 32 divide evenly.

        Returns
        -------
        dict of (C, h, w) float32 arrays
            By level, rectified. They are Caffe's own memory: copy what is to be kept beyond the next call,
            and do not write to them.
        """
        import_caffe(self._device)
        if self._lightness is None or not np.array_equal(self._lightness, lightness):
            data = self._net.blobs["data"]
            data.reshape(1, 1, *lightness.shape)
            data.data[0, 0] = lightness
            self._net.forward()
            self._lightness = np.array(lightness)
        return {name: self._net.blobs[name].data[0] for name in self.levels}


class HeadNet:
    """The head of a model folder on a shared backbone; a :class:`autocolor.runtime.device.HistogramNet`.

    Parameters
    ----------
    folder : Path
        Model folder; its manifest names variant, levels and bins of an :class:`ColorizationNet`.
    backbone : Backbone
        With the weights that the model was trained on, and at least its levels.
    device : str
        Where Caffe runs.
    width : float
        Factor on the channels.

    Raises
    ------
    ModelError
        If the folder cannot be used.
    """

    def __init__(
        self, folder: Path, backbone: Backbone, device: str = "cpu", width: float = 1.0
    ) -> None:
        manifest = Manifest.load(folder)
        network = ColorizationNet(manifest.variant, manifest.levels, manifest.bins, width)
        net = network.head_deploy_net(manifest.stride)
        self._levels = [level.name for level in vgg16_levels(manifest.levels, width)]
        self._outputs = tuple(manifest.outputs)
        self._backbone = backbone
        self._device = device
        self._net = _load(net, folder / manifest.weights, device)

    def __call__(self, lightness: npt.NDArray[np.float32]) -> tuple[FloatArray, ...]:
        """Run the net; see :class:`autocolor.runtime.device.HistogramNet`."""
        features = self._backbone.features(lightness)
        import_caffe(self._device)
        for name in self._levels:
            blob = self._net.blobs[name]
            blob.reshape(1, *features[name].shape)
            blob.data[0] = features[name]
        self._net.forward()
        return tuple(self._net.blobs[name].data[0].copy() for name in self._outputs)


def _load(net: caffe_pb2.NetParameter, weights: Path, device: str) -> Any:
    loaded = make_net(str(net), device)
    load_weights(loaded, weights)
    return loaded
