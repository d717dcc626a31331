"""
Hypercolumns on another task
============================

A hypercolumn is what all levels of a network say about one pixel: fine levels about brightness and
texture, coarse ones about the object it belongs to. The layer ``SparseHypercolumn`` reads them at any
places, and nothing in it is about colour. Here a few marked pixels of a grey photo and a linear
classifier are enough to find the rest of the object.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np
import skimage.data
from google.protobuf import text_format

from autocolor.imaging.color import lightness
from autocolor.imaging.images import resize
from autocolor.nets.colorization import hypercolumn_net
from autocolor.runtime.caffe_net import load_weights
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.runtime.model_folder import Manifest
from autocolor.runtime.shipped import shipped_model_folder

SIZE = (192, 288)  # multiples of 32, the stride of the coarsest level
grey = resize(lightness(skimage.data.chelsea() / 255), SIZE).astype(np.float32)
cat = np.array([(60, 110), (90, 150), (120, 120), (60, 190), (150, 160), (130, 80)])  # (y, x)
background = np.array([(20, 20), (180, 15), (20, 270), (60, 20), (185, 60), (25, 245)])
marked = np.concatenate([cat, background])

# %%
# A net from the photo and the locations to the hypercolumns, with the layers of VGG-16 of the model
# that colorizes.

folder = shipped_model_folder()
weights = folder / Manifest.load(folder).weights


def hypercolumns(levels, locations):
    """Return (P, C) hypercolumns of `grey` at (P, 2) locations, (y, x) in pixels."""
    caffe = import_caffe()
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as prototxt:
        prototxt.write(text_format.MessageToString(hypercolumn_net(levels, len(locations))))
        prototxt.flush()
        net = caffe.Net(prototxt.name, caffe.TEST)
    load_weights(net, weights)
    net.blobs["data"].reshape(1, 1, *grey.shape)
    net.blobs["data"].data[0, 0] = grey
    net.blobs["locations"].data[0] = locations
    net.forward()
    return net.blobs["hypercolumn"].data.copy()


# %%
# The classifier is ridge regression on +1 for the cat and -1 for the rest. Twelve pixels stand against
# thousands of channels, so it is solved in terms of the pixels. Beside it, the same on the lightness
# alone, which is level ``data``.

every_pixel = np.stack(np.mgrid[: SIZE[0] : 2, : SIZE[1] : 2], axis=-1).reshape(-1, 2)
target = np.repeat([1.0, -1.0], [len(cat), len(background)])
answers = {}
for name, levels in (("lightness", "data"), ("hypercolumn", "data..conv5_3")):
    columns = hypercolumns(levels, np.concatenate([marked, every_pixel]))
    columns = columns - columns.mean(axis=0)
    columns /= columns.std(axis=0) + 1e-6
    known, asked = columns[: len(marked)], columns[len(marked) :]
    kernel = known @ known.T
    ridge = np.trace(kernel) / len(known) * 0.1 * np.eye(len(known))
    answer = asked @ (known.T @ np.linalg.solve(kernel + ridge, target))
    answers[name] = answer.reshape(SIZE[0] // 2, SIZE[1] // 2)

figure, axes = plt.subplots(1, 3, figsize=(12, 2.9), layout="constrained")
axes[0].imshow(grey, cmap="gray", vmin=0, vmax=1)
axes[0].plot(cat[:, 1], cat[:, 0], "o", color="tab:orange", label="cat")
axes[0].plot(background[:, 1], background[:, 0], "o", color="tab:blue", label="background")
axes[0].legend(loc="lower right")
axes[0].set_title("marked pixels")
for axis, (name, answer) in zip(axes[1:], answers.items(), strict=True):
    axis.imshow(answer, cmap="PuOr_r", vmin=-1, vmax=1)
    axis.set_title(name)
for axis in axes:
    axis.axis("off")

# %%
# A hidden layer, more labels and ``caffe train`` make this a detector of edges: ``tools/train_edges.py``.
