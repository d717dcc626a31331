"""Automatic colorization with hypercolumns and real Caffe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autocolor.predictor import Predictor

__version__ = "0.1.0"


def load_model(folder: Path | str, device: str = "cpu") -> Predictor:
    """Load a trained model, see :class:`autocolor.predictor.Predictor`.

    Caffe is imported here and not with the package.
    """
    from autocolor.predictor import Predictor

    return Predictor(folder, device)
