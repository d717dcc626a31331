"""The one place that loads pycaffe and sets Caffe's mode and device."""

from __future__ import annotations

import ctypes
import os
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from autocolor.runtime.device import BackendError, gpu_number

# Functions of libcaffe, by their C++ names: void caffe_gpu_memcpy(size_t, const void*, void*) is in
# CUDA builds alone, bool Caffe::CheckDevice(int) says whether a GPU can be used.
_CUDA_FUNCTION = "_ZN5caffe16caffe_gpu_memcpyEmPKvPv"
_CHECK_DEVICE = "_ZN5caffe5Caffe11CheckDeviceEi"


class CaffeError(BackendError):
    """pycaffe, or the device asked for, cannot be used here."""


def import_caffe(device: str = "cpu") -> ModuleType:
    """Import pycaffe without its log of every layer, and set its mode.

    Parameters
    ----------
    device : str
        ``cpu``, ``gpu``, or ``gpu:1`` for the second GPU.

    Raises
    ------
    CaffeError
        If pycaffe is not installed, or cannot use a GPU that is asked for: Caffe itself would end
        the process.
    """
    gpu = gpu_number(device)
    caffe = _import()
    if gpu is None:
        caffe.set_mode_cpu()
    else:
        _check_gpu(ctypes.CDLL(caffe._caffe.__file__), gpu)
        caffe.set_device(gpu)
        caffe.set_mode_gpu()
    return caffe


def make_net(prototxt: str, device: str = "cpu", weights: Path | None = None) -> Any:
    """Return the ``caffe.Net`` of a text, to test with; its weights are those of the fillers, or a file's.

    Caffe ends the process on a net or a file that it cannot use.
    """
    caffe = import_caffe(device)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".prototxt") as file:
        file.write(prototxt)
        file.flush()
        return caffe.Net(file.name, *([] if weights is None else [str(weights)]), caffe.TEST)


def caffe_is_built() -> bool:
    """Return whether pycaffe can be imported."""
    try:
        _import()
    except CaffeError:
        return False
    return True


def layer_names(net: Any) -> list[str]:
    """Return the names of a net's layers, those that Caffe adds as well, in order."""
    return list(net._layer_names)


def forward_layer(net: Any, index: int) -> None:
    """Run one layer of a net forward."""
    net._forward(index, index)


def backward_layer(net: Any, index: int) -> None:
    """Run one layer of a net backward."""
    net._backward(index, index)


def _import() -> ModuleType:
    # glog reads this when libcaffe is loaded: warnings (1) are quiet too, errors are not.
    os.environ.setdefault("GLOG_minloglevel", "2")
    # And OpenMP this: threads that wait for others sleep. If they spun, a machine that does other
    # work as well would lose a scheduler's slice at each of the hundred joins of a forward pass.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import caffe
        from caffe import Net  # noqa: F401  # another package of this name has none
    except ImportError as error:
        raise CaffeError(
            f"cannot import caffe ({error}); `bash tools/setup.sh` builds it and "
            "`source build/env.sh` makes it known"
        ) from error
    module: ModuleType = caffe
    return module


def _check_gpu(library: ctypes.CDLL, number: int) -> None:
    """Refuse a build without CUDA and a GPU that is not there; `library` is pycaffe's own."""
    if not hasattr(library, _CUDA_FUNCTION):
        raise CaffeError(
            "device 'gpu': this Caffe is built for the CPU only; "
            "`bash tools/setup.sh -DWITH_CUDA=ON` builds it for GPUs (docs/building.md)"
        )
    check_device = getattr(library, _CHECK_DEVICE)
    check_device.restype = ctypes.c_bool
    if not check_device(number):
        raise CaffeError(f"device 'gpu': CUDA finds no GPU {number} that it can use")
