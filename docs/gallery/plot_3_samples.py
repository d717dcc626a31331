"""
Diverse colorizations
=====================

Grey does not decide colour: a car may be red or blue. Where the histograms leave a choice, a bias
towards one hue after the other (section 4 of the paper) gives several colorizations that are each
consistent, while pixels of which the network is sure hardly change.
"""

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

import autocolor
from autocolor.control.edits import Edits, colorize_edited

model = autocolor.load_model()
prediction = model.predict(autocolor.lightness(skimage.data.chelsea() / 255))
rng = np.random.default_rng(0)
colorizations = list(colorize_edited(prediction, Edits(samples=6), rng))

figure, axes = plt.subplots(2, 3, figsize=(9, 4.2), layout="constrained")
for axis, colorized in zip(axes.flat, colorizations, strict=True):
    axis.imshow(colorized)
    axis.axis("off")

# %%
# From the command line: ``autocolor photo.jpg --samples 6``. The network ran once; each colorization
# costs only its inference.
