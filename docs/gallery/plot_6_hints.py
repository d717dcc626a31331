"""
Hint at a colour
================

A hint is a colour and a place. It spreads to pixels of which the network thinks alike, that are about
as light and that lie near; it goes into the histograms, so that it is one observation beside the
network's own and not paint.
"""

import matplotlib.pyplot as plt
import numpy as np
import skimage.data
from matplotlib.colors import to_hex

import autocolor
from autocolor.control.edits import Edits, colorize_edited
from autocolor.control.hints import Hint

model = autocolor.load_model()
prediction = model.predict(autocolor.lightness(skimage.data.coffee() / 255))
hints = [
    Hint(y=350, x=300, rgb=(0.1, 0.3, 0.8), radius=15),  # the saucer
    Hint(y=150, x=290, rgb=(0.45, 0.2, 0.05), radius=15),  # the coffee
]
(hinted,) = colorize_edited(prediction, Edits(hints=hints), np.random.default_rng(0))

figure, axes = plt.subplots(1, 3, figsize=(12, 2.9), layout="constrained")
axes[0].imshow(prediction.lightness, cmap="gray", vmin=0, vmax=1)
for hint in hints:
    axes[0].plot(hint.x, hint.y, "o", color=to_hex(hint.rgb), markersize=12, mec="white")
axes[1].imshow(prediction.colorize())
axes[2].imshow(hinted)
for axis, title in zip(axes, ("hints", "automatic", "with hints"), strict=True):
    axis.set_title(title)
    axis.axis("off")

# %%
# From the command line, a hint is ``--hint X,Y=COLOUR``: ``autocolor photo.jpg --hint 300,350=#1a4dcc``.
