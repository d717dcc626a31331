"""
Colours of a reference photo
============================

Take the palette of another photo (section 3.4 of the paper). *Quantile matching* recolours the
automatic result until its colours are distributed as the reference's. *Energy minimisation* bends the
predicted histograms until they are, so that the network still decides which colour goes where.
"""

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

import autocolor
from autocolor.control.edits import Edits, Reference, colorize_edited
from autocolor.control.targets import image_targets

model = autocolor.load_model()
reference = skimage.data.chelsea() / 255
prediction = model.predict(autocolor.lightness(skimage.data.coffee() / 255))
bins = prediction.outputs[0].shape[-1]

quantiles = Reference(reference, None)
energy = Reference(None, image_targets(reference, prediction.variant, bins))
rng = np.random.default_rng(0)
pictures = {"reference": reference, "automatic": prediction.colorize()}
for name, chosen in (("quantile matching", quantiles), ("energy minimisation", energy)):
    (pictures[name],) = colorize_edited(prediction, Edits(reference=chosen), rng)

figure, axes = plt.subplots(1, 4, figsize=(12, 2.6), layout="constrained")
for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
    axis.imshow(picture)
    axis.set_title(name)
    axis.axis("off")

# %%
# From the command line: ``autocolor photo.jpg --reference other.jpg``.
