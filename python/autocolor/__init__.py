"""Automatic colorization with hypercolumns and real Caffe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autocolor.runtime.colorizer import Colorizer

__version__ = "0.1.0"


def load_model(
    folder: Path | str | None = None, device: str = "cpu", *, backend: str = "auto"
) -> Colorizer:
    """Load a trained model, see :class:`autocolor.runtime.colorizer.Colorizer`.

    What runs it, Caffe or onnxruntime, is imported here and not with the package.

    Parameters
    ----------
    folder : path, optional
        Model folder; without one, the model that comes with this package, see
        :func:`autocolor.runtime.shipped.shipped_model_folder`.
    device : str
        ``cpu``, ``gpu``, or ``gpu:1`` for the second GPU.
    backend : {"auto", "caffe", "onnx"}
        What runs the network; "auto" takes Caffe where it is built.
    """
    from autocolor.runtime.colorizer import Colorizer
    from autocolor.runtime.shipped import shipped_model_folder

    return Colorizer(shipped_model_folder() if folder is None else folder, device, backend=backend)
