"""
What the network predicts
=========================

Not a colour but, at each pixel, a histogram of hue and one of chroma (section 3.2 of the paper). Hue is
a circle, chroma runs from 0, grey, to 1. A colour is taken from them afterwards: here the three marked
pixels keep all that the network said about them.
"""

import matplotlib.pyplot as plt
import numpy as np
import skimage.data
from matplotlib.colors import hsv_to_rgb

import autocolor
from autocolor.histograms.bins import uniform_centers

model = autocolor.load_model()
grey = autocolor.lightness(skimage.data.coffee() / 255)
prediction = model.predict(grey)
hue, chroma = prediction.outputs  # (h, w, 32) each, on the network's grid
places = {"coffee": (150, 290), "spoon": (330, 420), "table": (60, 80)}  # (y, x)

figure, axes = plt.subplots(1, 1 + len(places), figsize=(11, 2.8), layout="constrained")
axes[0].imshow(prediction.colorize())
axes[0].axis("off")
centers = uniform_centers(hue.shape[-1])
colors = hsv_to_rgb(np.stack([centers, np.ones_like(centers), np.full_like(centers, 0.9)], -1))
for axis, (name, (y, x)) in zip(axes[1:], places.items(), strict=True):
    axes[0].plot(x, y, "w+", markersize=12)
    axes[0].annotate(name, (x, y), (6, 6), textcoords="offset points", color="white")
    cell = tuple(int(p * s) for p, s in zip((y, x), prediction.cells_per_pixel, strict=True))
    axis.bar(centers, hue[cell], width=1 / len(centers), color=colors)
    axis.step(centers, chroma[cell], where="mid", color="black", label="chroma")
    axis.set(title=name, xlabel="hue (bars), chroma (line)", xlim=(0, 1))
axes[1].set_ylabel("probability")
axes[1].legend()

# %%
# The expectation of hue is an angle, and its length says how sure the network is; chroma is faded where
# it is not (Eq. 5). See :func:`autocolor.histograms.decode.infer_hue_chroma`.
