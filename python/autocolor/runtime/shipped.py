"""The model that comes with autocolor, whole: its weights lie in this package in half precision.

``docs/model_card.md`` says how it was trained and what it scores. Needs no Caffe and no network: the
deploy net lies in the package as well, written by tools/generate_prototxt.py. At the first use the
weights are written out once as a caffemodel in single precision, which is mapped into memory from
then on.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from autocolor.core.downloads import default_cache
from autocolor.core.errors import AutocolorError
from autocolor.core.files import DAMAGED, atomic_path
from autocolor.runtime.caffemodel import Weights, WeightsError, write_caffemodel
from autocolor.runtime.model_folder import MANIFEST_NAME, Manifest, ModelError

FOLDER = Path(__file__).with_name("shipped_model")
"""``model.json``, ``deploy.prototxt``, and the weights."""

WEIGHTS = "weights.npz"
"""Arrays ``<layer>/weight`` and ``<layer>/bias``: see :func:`save_half`."""

TRAINING = "training.json"
"""What it learnt from and how, for its card."""

_BLOBS = ("weight", "bias")


def shipped_manifest() -> Manifest:
    """Return the manifest of the shipped model."""
    return Manifest.load(FOLDER)


def shipped_weights() -> Weights:
    """Return the float32 weights of the shipped model's deploy net, without Caffe."""
    return load_half(FOLDER / WEIGHTS)


def shipped_model_folder(
    cache: Path | None = None, *, say: Callable[[str], object] = lambda text: None
) -> Path:
    """Return the model folder of the shipped model, assembling it in the cache if need be.

    Parameters
    ----------
    cache : Path, optional
        :func:`autocolor.core.downloads.default_cache` unless given. The folder lies in
        ``CACHE/models`` under a name that depends on everything it is made of.
    say : callable
        Is told in one line when the folder has to be assembled, and how long that takes.

    Raises
    ------
    ModelError
        If the package is incomplete, the folder cannot be written, or a file in it is damaged.
    """
    manifest = shipped_manifest()
    digest = hashlib.sha256(b"with a checksum of the weights")  # which older folders have not
    copied = {name: _read(FOLDER / name) for name in (MANIFEST_NAME, manifest.deploy)}
    for content in copied.values():
        digest.update(content)
    digest.update(_contents(FOLDER / WEIGHTS))
    folder = (cache or default_cache()) / "models" / f"shipped-{digest.hexdigest()[:16]}"
    try:
        if not folder.is_dir():
            say(
                f"first use: the model of this package is unpacked to {folder} (73 MB, some seconds; "
                "nothing is downloaded)"
            )
            _assemble(folder, copied, manifest, shipped_weights())
    except OSError as error:
        raise ModelError(
            f"{folder}: cannot be written: {error.strerror or error}; the environment variable "
            "AUTOCOLOR_CACHE may name another folder for it"
        ) from error
    # The weights are compared with their checksum where they are read.
    for name, content in copied.items():
        if _read(folder / name) != content:
            raise ModelError(f"{folder / name}: is damaged; remove {folder}, it is made anew")
    return folder


def save_half(path: Path, weights: Mapping[str, tuple[np.ndarray, ...]]) -> None:
    """Write weights in half precision, biases in single precision, atomically.

    Parameters
    ----------
    path : Path
        Ends in ``.npz``. The file is also one that ``tools/convert_weights.py`` reads.
    weights : dict
        Layer name to weight and bias. Re-balanced layers fit: those of VGG-16 itself give features
        in the thousands, and a head on them has weights below what half precision can hold.

    Raises
    ------
    WeightsError
        If a layer has not two blobs, or does not fit half precision.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, blobs in weights.items():
        if len(blobs) != len(_BLOBS):
            raise WeightsError(f"layer {name}: expected weight and bias, got {len(blobs)} blobs")
        weight, bias = blobs
        with np.errstate(over="ignore"):
            half = weight.astype(np.float16)
        size = np.abs(weight).mean()
        # The spacing of the numbers below 2^-14 is 2^-24.
        if not np.isfinite(half).all() or 0 < size < 2**-15:
            raise WeightsError(
                f"layer {name}: does not fit half precision, its mean size is {size:.2g}; expected "
                "re-balanced weights (tools/rebalance.py)"
            )
        arrays[f"{name}/weight"] = half
        arrays[f"{name}/bias"] = bias.astype(np.float32)
    with atomic_path(path) as partial:
        np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]


def load_half(path: Path) -> Weights:
    """Return what :func:`save_half` wrote, in single precision.

    Raises
    ------
    ModelError
        If the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = dict.fromkeys(name.rpartition("/")[0] for name in archive.files)
            weights: Weights = {
                name: tuple(np.asarray(archive[f"{name}/{blob}"], np.float32) for blob in _BLOBS)
                for name in names
            }
    except DAMAGED as error:
        raise ModelError(f"{path}: not the weights of a model: {error}") from error
    return weights


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error}") from error


def _contents(path: Path) -> bytes:
    """Names, sizes and checksums of what an archive holds: quicker than to read all of it."""
    try:
        with zipfile.ZipFile(path) as archive:
            listed = [(entry.filename, entry.file_size, entry.CRC) for entry in archive.infolist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: not the weights of a model: {error}") from error
    return repr(listed).encode()


def _assemble(
    folder: Path, copied: Mapping[str, bytes], manifest: Manifest, weights: Weights
) -> None:
    """Write the folder beside its place, then move it there: it is whole, or not there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        whole = Path(temporary, folder.name)
        whole.mkdir()
        for name, content in copied.items():
            (whole / name).write_bytes(content)
        write_caffemodel(whole / manifest.weights, weights, manifest.name)
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
