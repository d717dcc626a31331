"""The mean colour of the references, the same everywhere: a baseline that knows no image.

Of three readings, the mean of a and b, that of alpha and beta, and the geometric median of alpha and
beta (which is the constant of least Eq. 10 on the references), the first scored best on validation
photos: alpha and beta of dark pixels are large, and sway their mean.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autocolor.baselines.references import References
from autocolor.core.arrays import FloatArray
from autocolor.imaging.color import compose_lab, rgb_to_lab


def mean_ab(references: References, *, progress: bool = False) -> npt.NDArray[np.float64]:
    """Return the mean a and b over the pixels of all references, shape (2,).

    Every photo counts the same, whatever its size.
    """
    means = [
        rgb_to_lab(rgb)[..., 1:].mean(axis=(0, 1), dtype=np.float64)
        for _, rgb in references.images(progress, "mean colour")
    ]
    return np.asarray(np.mean(means, axis=0), dtype=np.float64)


class MeanColor:
    """Gives every pixel one a and b.

    Parameters
    ----------
    ab : (2,) float array
    """

    def __init__(self, ab: FloatArray) -> None:
        self.ab = np.asarray(ab, dtype=np.float32)

    def __call__(self, lightness: FloatArray) -> npt.NDArray[np.float32]:
        """Return (H, W, 3) RGB of the given (H, W) lightness in [0, 1]."""
        light = lightness.astype(np.float32, copy=False)
        return compose_lab(np.broadcast_to(self.ab, (*light.shape, 2)), light)
