"""
Colorize a photo
================

A model takes the lightness of a photo, (R + G + B)/3, and gives back a colour image of the same
lightness and size. A photo that is in colour, as here, loses its colours first, so that the result can
be compared with them.
"""

import matplotlib.pyplot as plt
import skimage.data

import autocolor

model = autocolor.load_model()
photos = [skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket()]

figure, axes = plt.subplots(len(photos), 3, figsize=(9, 6.5), layout="constrained")
for row, photo in zip(axes, photos, strict=True):
    original = photo / 255
    grey = autocolor.lightness(original)
    colorized = model.colorize(grey)
    row[0].imshow(grey, cmap="gray", vmin=0, vmax=1)
    row[1].imshow(colorized)
    row[2].imshow(original)
for axis, title in zip(axes[0], ("grey", "colorized", "original"), strict=True):
    axis.set_title(title)
for axis in axes.flat:
    axis.axis("off")

# %%
# From the command line, ``autocolor photo.jpg -o out.png`` does the same. The model has a strength, the
# factor on chroma that did best on validation photos; another one is ``model.colorize(grey,
# strength=1.2)``.
