"""Error metrics of the paper (A.3) as running sums over images.

Predictions are scored as floating-point images, without rounding them to 8 bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autocolor.checks import FloatArray, check_same_shape
from autocolor.color import rgb_to_alpha_beta


@dataclass(frozen=True)
class Scores:
    """Both metrics, of one image or of many.

    Attributes
    ----------
    rmse : float
        Eq. 10 in alpha-beta units; lower is better.
    psnr : float
        Eq. 11 in dB; higher is better.
    """

    rmse: float
    psnr: float


class ColorMetrics:
    """Running RMSE (Eq. 10) and PSNR (Eq. 11).

    Eq. 10 prints a norm inside the root of a square. It is the mean, over all pixels of all
    images, of the Euclidean alpha-beta error; read as the root of a mean square, the paper's row
    "no colorization" would come out larger. Eq. 11 is the arithmetic mean over images of
    -10 log10(mean squared RGB error), its inner sum sign being a misprint.

    Examples
    --------
    >>> metrics = ColorMetrics()
    >>> scores_of_one = metrics.add(truth, prediction)
    >>> metrics.scores().rmse
    """

    def __init__(self) -> None:
        self.images = 0
        self._pixels = 0
        self._error_sum = 0.0
        self._psnr_sum = 0.0

    def add(self, truth: FloatArray, prediction: FloatArray) -> Scores:
        """Count one image.

        Parameters
        ----------
        truth, prediction : (H, W, 3) float arrays, RGB in [0, 1]

        Returns
        -------
        Scores
            Of this image alone. The PSNR of an exact prediction is infinite.

        Raises
        ------
        ValueError
            If the shapes differ or an image is not RGB in [0, 1].
        """
        check_same_shape("prediction", prediction, truth.shape)
        difference = rgb_to_alpha_beta(truth) - rgb_to_alpha_beta(prediction)
        errors = np.hypot(difference[..., 0], difference[..., 1])
        error_sum = float(errors.sum(dtype=np.float64))
        square = float(np.mean(np.square(truth - prediction), dtype=np.float64))
        psnr = -10 * math.log10(square) if square > 0 else math.inf
        self.images += 1
        self._pixels += errors.size
        self._error_sum += error_sum
        self._psnr_sum += psnr
        return Scores(error_sum / errors.size, psnr)

    def scores(self) -> Scores:
        """Return the metrics over all images so far.

        Raises
        ------
        ValueError
            If there is none.
        """
        if not self.images:
            raise ValueError("metrics: expected at least one image, received none")
        return Scores(self._error_sum / self._pixels, self._psnr_sum / self.images)
