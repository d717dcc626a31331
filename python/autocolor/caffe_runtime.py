"""The one place that loads pycaffe and sets Caffe's mode."""

from __future__ import annotations

import os
import re
from types import ModuleType

_DEVICE = re.compile(r"cpu|gpu(?::(\d+))?")


class CaffeError(RuntimeError):
    """pycaffe cannot be used here."""


def import_caffe(device: str = "cpu") -> ModuleType:
    """Import pycaffe without its log of every layer, and set its mode.

    Parameters
    ----------
    device : str
        ``cpu``, ``gpu``, or ``gpu:1`` for the second GPU.

    Raises
    ------
    CaffeError
        If pycaffe is not installed, or was built without CUDA where a GPU is asked for.
    ValueError
        On any other device.
    """
    gpu = _DEVICE.fullmatch(device)
    if gpu is None:
        raise ValueError(f"device: expected 'cpu', 'gpu' or 'gpu:NUMBER', received {device!r}")
    # glog reads this when libcaffe is loaded: warnings (1) are quiet too, errors are not.
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        import caffe
    except ImportError as error:
        raise CaffeError(
            f"cannot import caffe ({error}); `bash tools/setup.sh` builds it and "
            "`source build/env.sh` makes it known"
        ) from error
    if device == "cpu":
        caffe.set_mode_cpu()
    elif hasattr(caffe._caffe.Blob, "_gpu_data_ptr"):  # only where Caffe was built with CUDA
        caffe.set_device(int(gpu.group(1) or 0))
        caffe.set_mode_gpu()
    else:
        raise CaffeError(
            "this Caffe was built for the CPU only: expected solver_mode or device CPU"
        )
    module: ModuleType = caffe
    return module
