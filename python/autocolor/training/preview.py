"""Colorize a few photos with the weights of the moment, as a picture."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocolor.core.files import atomic_path
from autocolor.core.isolation import run_isolated
from autocolor.runtime.model_folder import MANIFEST_NAME, Manifest, ModelError


@dataclass(frozen=True)
class Previews:
    """Previews of a training."""

    photos: Sequence[Path]  #: In colour
    interval: int  #: Iterations between two pictures
    deploy: Path  #: Prototxt of the dense net; a ``model.json`` beside it is heeded

    def draw(self, net: Any, out: Path) -> str | None:
        """Write the picture of a ``caffe.Net``'s weights to `out`; returns why it cannot, or None."""
        try:
            beside = self.deploy.parent / MANIFEST_NAME
            manifest = Manifest.load(beside.parent) if beside.exists() else Manifest("preview")
        except ModelError as error:
            return str(error)
        with tempfile.TemporaryDirectory(prefix="autocolor_preview_") as name:
            folder = Path(name)
            manifest.save(folder)
            shutil.copyfile(self.deploy, folder / manifest.deploy)
            net.save(str(folder / manifest.weights))
            failure = run_isolated(_draw, [str(folder), str(out), list(map(str, self.photos))])
        if failure is None:
            return None
        return failure.reason.replace(str(folder / manifest.deploy), str(self.deploy))


def _draw(model_folder: str, out: str, names: Sequence[str]) -> None:
    """In a child, which draws no random numbers from the training's generator."""
    from autocolor.evaluation.evaluate import EvaluationProtocol, evaluate
    from autocolor.evaluation.gallery import draw_gallery
    from autocolor.runtime.colorizer import Colorizer

    photos = list(map(Path, names))
    evaluation = evaluate(
        {"ours": Colorizer(model_folder).colorize},
        photos,
        protocol=EvaluationProtocol(extras=False),
        replicates=0,
        gallery_size=len(photos),
        progress=False,
    )
    with atomic_path(Path(out)) as partial:
        draw_gallery(evaluation.gallery).save(partial)
