"""
Where the model is unsure
=========================

The entropy of the predicted colour, in bits: 0 would be one certain bin, 10 an even histogram of
32 × 32 bins of hue and chroma (Figure 10 of the paper).
"""

import matplotlib.pyplot as plt
import skimage.data

import autocolor
from autocolor.control.biases import uncertainty

model = autocolor.load_model()
photos = [skimage.data.coffee(), skimage.data.chelsea()]

figure, axes = plt.subplots(2, 3, figsize=(10, 4.6), layout="constrained")
for row, photo in zip(axes, photos, strict=True):
    prediction = model.predict(autocolor.lightness(photo / 255))
    bits = uncertainty(*prediction.outputs)  # (h, w), on the network's grid
    row[0].imshow(prediction.lightness, cmap="gray", vmin=0, vmax=1)
    row[1].imshow(prediction.colorize())
    shown = row[2].imshow(bits, vmin=0, vmax=10)
    for axis in row:
        axis.axis("off")
figure.colorbar(shown, ax=axes, label="bits", shrink=0.8)

# %%
# From the command line: ``autocolor photo.jpg --uncertainty``.
