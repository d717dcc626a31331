"""A baseline as a method that :mod:`autocolor.evaluation.parts` scores."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocolor.baselines.registry import NEED_BACKBONE, load_baseline
from autocolor.core.files import file_sha256
from autocolor.evaluation.evaluate import Method


@dataclass(frozen=True)
class BaselineSource:
    """A method of :mod:`autocolor.baselines.registry` with what it learns from.

    Attributes
    ----------
    name : str
        Of the method, also in reports.
    references : tuple of Path
        Colour photos to learn from.
    weights : Path
        VGG-16-gray, for the methods that need a network.
    cache : Path
        Keeps what was learnt.
    device : str
        ``cpu``, ``gpu`` or ``gpu:1``; no part of the identity.
    """

    name: str
    references: tuple[Path, ...]
    weights: Path
    cache: Path
    device: str = "cpu"

    def identity(self) -> dict[str, Any]:
        """Return the hashes of the references and, where they count, of the weights.

        Raises
        ------
        OSError
            If a file cannot be read.
        """
        digest = hashlib.sha256()
        for path in self.references:
            digest.update(file_sha256(path).encode())
        identity: dict[str, Any] = {"baseline": self.name, "references": digest.hexdigest()}
        if self.name in NEED_BACKBONE:
            identity["sha256"] = {self.weights.name: file_sha256(self.weights)}
        return identity

    def load(self) -> Method:
        """Return the method, which learns now unless it has before."""
        backbone = None
        if self.name in NEED_BACKBONE:
            from autocolor.nets.backbone import Backbone  # needs pycaffe, the other methods do not

            backbone = Backbone(self.weights, device=self.device)
        return load_baseline(self.name, self.references, backbone=backbone, cache=self.cache)
