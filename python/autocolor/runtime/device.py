"""What every backend gives and takes: a net of histograms, a device, and one kind of error."""

from __future__ import annotations

import re
from typing import Protocol

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray
from autocolor.core.errors import AutocolorError, InputError

_DEVICE = re.compile(r"cpu|gpu(?::(\d+))?")


class BackendError(AutocolorError):
    """What should run the network is not there, or cannot use the device asked for."""


class HistogramNet(Protocol):
    """Anything that predicts colour from lightness."""

    def __call__(self, lightness: npt.NDArray[np.float32]) -> tuple[FloatArray, ...]:
        """Return the outputs of the variant (see :attr:`autocolor.runtime.model_folder.Manifest.outputs`).

        Parameters
        ----------
        lightness : (H, W) float32 array in [0, 1]
            Both sides are multiples of 32.

        Returns
        -------
        tuple of (C, H / stride, W / stride) float arrays
            Histograms sum to 1 over C. Cell (j, i) belongs to pixel
            (j * stride + (stride - 1)/2, i * stride + (stride - 1)/2).
        """


def gpu_number(device: str) -> int | None:
    """Return the number of the GPU that ``gpu`` or ``gpu:1`` means, None for ``cpu``."""
    match = _DEVICE.fullmatch(device)
    if match is None:
        raise InputError("device", f"expected 'cpu', 'gpu' or 'gpu:NUMBER', got {device!r}")
    return None if device == "cpu" else int(match.group(1) or 0)
