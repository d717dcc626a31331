"""Automatic colorization with hypercolumns and real Caffe.

What is named here is the library's public face; the rest may change from version to version.

Examples
--------
>>> model = autocolor.load_model()
>>> photo = autocolor.read_image("photo.jpg")
>>> autocolor.write_image("out.png", model.colorize(photo.rgb))
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autocolor.core.errors import AutocolorError
    from autocolor.histograms.prediction import Prediction
    from autocolor.imaging.color import lightness
    from autocolor.imaging.images import read_image, write_image
    from autocolor.runtime.colorizer import Colorizer

__version__ = "0.1.0"

__all__ = [
    "AutocolorError",
    "Colorizer",
    "Prediction",
    "__version__",
    "lightness",
    "load_model",
    "read_image",
    "write_image",
]

# Imported when they are first used: `import autocolor` loads nothing large.
_MODULES = {
    "AutocolorError": "core.errors",
    "Colorizer": "runtime.colorizer",
    "Prediction": "histograms.prediction",
    "lightness": "imaging.color",
    "read_image": "imaging.images",
    "write_image": "imaging.images",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


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

    Raises
    ------
    AutocolorError
        If the model cannot be used here.
    """
    from autocolor.runtime.colorizer import Colorizer
    from autocolor.runtime.shipped import shipped_model_folder

    return Colorizer(shipped_model_folder() if folder is None else folder, device, backend=backend)
