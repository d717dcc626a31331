"""Automatic colorization with hypercolumns and real Caffe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autocolor.predictor import Predictor

__version__ = "0.1.0"


def load_model(folder: Path | str | None = None, device: str = "cpu") -> Predictor:
    """Load a trained model, see :class:`autocolor.predictor.Predictor`.

    Caffe is imported here and not with the package.

    Parameters
    ----------
    folder : path, optional
        Model folder; without one, the model that comes with this package, see
        :func:`autocolor.shipped.shipped_model_folder`.
    device : str
        Where Caffe runs.
    """
    from autocolor.predictor import Predictor
    from autocolor.shipped import shipped_model_folder

    return Predictor(shipped_model_folder() if folder is None else folder, device)
