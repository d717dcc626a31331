"""A trained model on disk: ``model.json`` beside a deploy prototxt and a caffemodel."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from autocolor.core.constants import BINS
from autocolor.core.errors import AutocolorError, InputError
from autocolor.core.files import check_is_file, file_sha256, write_atomically
from autocolor.core.variants import VARIANTS, find_variant
from autocolor.runtime.caffemodel import Weights, WeightsError, read_caffemodel

MANIFEST_NAME = "model.json"
_FORMAT = 1

# The sides of the network's input are multiples of this, the stride of VGG-16's pool5.
INPUT_MULTIPLE = 32


class ModelError(AutocolorError):
    """A model folder that cannot be used; one line that names the file."""


@dataclass(frozen=True)
class Manifest:
    """What ``model.json`` says."""

    name: str  #: Shown in reports
    #: {"hue_chroma", "lab_marginal", "lab_joint", "lab_l2"}. What the network predicts; see
    #: :class:`autocolor.nets.colorization.ColorizationNet`.
    variant: str = "hue_chroma"
    #: Levels of the hypercolumn such as ``data..conv5_3``, for the reader; may be empty
    levels: str = ""
    #: Of each channel's histogram, K (of "lab_joint" K along each axis); "lab_l2" has none
    bins: int = BINS
    #: File names inside the folder: prototxt and caffemodel
    deploy: str = "deploy.prototxt"
    weights: str = "weights.caffemodel"
    stride: int = 4  #: Pixels between the histograms that the network gives; divides 32
    #: The photo is shrunk until its smaller side has this many pixels; never enlarged
    working_side: int = 256
    maximum_side: int = 1024  #: The larger side has at most this many
    strength: float = 1.0  #: Factor on chroma, or on a and b, chosen on validation photos
    #: Factors on the size above at which the network sees the photo: 1, and others below. A smaller
    #: one costs little and shows the network more of the photo around each pixel. What it predicts
    #: is averaged, see :func:`autocolor.histograms.scales.merge_scales`.
    scales: Sequence[float] = (1.0,)
    #: Of "hue_chroma": whether a photo that is one texture all over, of which the network knows no
    #: colour, becomes grey, see :mod:`autocolor.histograms.textures`.
    grey_textures: bool = False

    def __post_init__(self) -> None:
        variant = find_variant(self.variant)
        if not isinstance(self.levels, str):
            raise InputError("levels", f"expected a string, got {self.levels!r}")
        for name in ("bins", "stride", "working_side", "maximum_side"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InputError(name, f"expected a positive integer, got {value!r}")
        if INPUT_MULTIPLE % self.stride:
            raise InputError("stride", f"expected a divisor of {INPUT_MULTIPLE}, got {self.stride}")
        if variant.is_histogram and not variant.has_hue and self.bins < 2:
            raise InputError("bins", f"expected at least 2 of a and b, got {self.bins}")
        for name in ("name", "deploy", "weights"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise InputError(name, f"expected a string, got {value!r}")
        for name in ("deploy", "weights"):
            value = getattr(self, name)
            if Path(value).name != value or not value.isprintable():
                raise InputError(name, f"expected the name of a file in this folder, got {value!r}")
        if type(self.strength) not in (int, float) or not 0 <= self.strength < math.inf:
            raise InputError("strength", f"expected a finite number >= 0, got {self.strength!r}")
        if not _are_scales(self.scales):
            raise InputError("scales", f"expected 1 and numbers in (0, 1), got {self.scales!r}")
        object.__setattr__(self, "scales", tuple(self.scales))  # JSON has lists
        if type(self.grey_textures) is not bool or (self.grey_textures and not variant.has_hue):
            expected = "true or false" if variant.has_hue else f"false of {self.variant}"
            raise InputError("grey_textures", f"expected {expected}, got {self.grey_textures!r}")

    @property
    def outputs(self) -> dict[str, int]:
        """Output blobs of the deploy net, in order, and their numbers of channels.

        The blob ``ab`` of "lab_joint" has index (bin of a) * bins + (bin of b), that of "lab_l2"
        holds a and b themselves.
        """
        variant = VARIANTS[self.variant]
        return dict.fromkeys(variant.outputs, variant.channels(self.bins))

    def save(self, folder: Path) -> None:
        """Write ``model.json`` into `folder`, atomically."""
        content = {"format": _FORMAT, **asdict(self)}
        write_atomically(folder / MANIFEST_NAME, json.dumps(content, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read ``model.json`` of `folder`.

        Raises
        ------
        ModelError
            If the folder or the file is missing, or the file says something else than above.
        """
        path = folder / MANIFEST_NAME
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such model folder")
        try:
            check_is_file(path)
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelError(f"{path}: no such file; is {folder} a model folder?") from None
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path}: not a JSON file: {error}") from error
        try:
            return cls(**_checked_keys(content))
        except AutocolorError as error:
            raise ModelError(f"{path}: {error}") from error


def _are_scales(values: Any) -> bool:
    return (
        isinstance(values, (list, tuple))
        and list(values[:1]) == [1]
        and all(type(value) is float and 0 < value < 1 for value in values[1:])
    )


def _checked_keys(content: Any) -> dict[str, Any]:
    """Return the fields of a manifest out of the content of ``model.json``."""
    if not isinstance(content, dict):
        raise AutocolorError(f"expected an object, got {type(content).__name__}")
    # Manifests once had a colour space, "hue_chroma", instead of variant and levels.
    expected: dict[str, Any] = {"format": _FORMAT}
    if "variant" not in content:
        expected["color_space"] = "hue_chroma"
        content = {"variant": "hue_chroma", "levels": "", **content}
    content = {"scales": [1.0], "grey_textures": False, **content}  # not said at first
    for key, value in expected.items():
        if content.get(key) != value:
            raise InputError(key, f"expected {value!r}, got {content.get(key)!r}")
    values = {key: content[key] for key in content if key not in expected}
    expected_keys = {field.name for field in fields(Manifest)}
    if values.keys() != expected_keys:
        missing = ", ".join(sorted(expected_keys - values.keys())) or "none"
        unknown = ", ".join(sorted(values.keys() - expected_keys)) or "none"
        raise AutocolorError(f"keys missing: {missing}; keys unknown: {unknown}")
    return values


def read_model_weights(path: Path) -> Weights:
    """Read a model's caffemodel, but raise a `ModelError`: see
    :func:`autocolor.runtime.caffemodel.read_caffemodel`.
    """
    try:
        return read_caffemodel(path)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except WeightsError as error:
        raise ModelError(str(error)) from error


def model_identity(folder: Path) -> dict[str, Any]:
    """Return what tells a model apart from others, for JSON: hashes of the files of its folder.

    Raises
    ------
    ModelError, OSError
        If the folder cannot be used.
    """
    manifest = Manifest.load(folder)
    files = (MANIFEST_NAME, manifest.deploy, manifest.weights)
    return {
        "model": manifest.name,
        "variant": manifest.variant,
        "strength": manifest.strength,
        "sha256": {name: file_sha256(folder / name) for name in files},
    }
