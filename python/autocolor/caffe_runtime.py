"""The one place that loads pycaffe and sets Caffe's mode."""

from __future__ import annotations

import os
from types import ModuleType


class CaffeError(RuntimeError):
    """pycaffe cannot be used here."""


def import_caffe(device: str = "cpu") -> ModuleType:
    """Import pycaffe without its log of every layer, and set its mode.

    Parameters
    ----------
    device : {"cpu"}

    Raises
    ------
    CaffeError
        If pycaffe is not installed.
    ValueError
        On any other device.
    """
    if device != "cpu":
        raise ValueError(f"device: expected 'cpu', received {device!r}")
    # glog reads this when libcaffe is loaded: warnings (1) are quiet too, errors are not.
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        import caffe
    except ImportError as error:
        raise CaffeError(
            f"cannot import caffe ({error}); `bash tools/setup.sh` builds it and "
            "`source build/env.sh` makes it known"
        ) from error
    caffe.set_mode_cpu()
    module: ModuleType = caffe
    return module
