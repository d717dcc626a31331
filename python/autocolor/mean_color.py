"""The mean colour of the references, the same everywhere: a baseline that knows no image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autocolor.checks import FloatArray
from autocolor.color import compose_alpha_beta, rgb_to_alpha_beta
from autocolor.references import References


def mean_alpha_beta(
    references: References, *, progress: bool = False
) -> npt.NDArray[np.float64]:
    """Return the mean alpha and beta (Eq. 9) over the pixels of all references, shape (2,).

    Every photo counts the same, whatever its size. Since both are linear in RGB/L, this is the
    colour of the mean of RGB/L.
    """
    means = [
        rgb_to_alpha_beta(rgb).mean(axis=(0, 1), dtype=np.float64)
        for _, rgb in references.images(progress, "mean colour")
    ]
    return np.asarray(np.mean(means, axis=0), dtype=np.float64)


class MeanColor:
    """Gives every pixel one alpha and beta.

    Parameters
    ----------
    alpha_beta : (2,) float array
    """

    def __init__(self, alpha_beta: FloatArray) -> None:
        self.alpha_beta = np.asarray(alpha_beta, dtype=np.float32)

    def __call__(self, lightness: FloatArray) -> npt.NDArray[np.float32]:
        """Return (H, W, 3) RGB of the given (H, W) lightness in [0, 1]."""
        light = lightness.astype(np.float32, copy=False)
        colors = np.broadcast_to(self.alpha_beta, (*light.shape, 2))
        return compose_alpha_beta(colors, light).astype(np.float32, copy=False)
