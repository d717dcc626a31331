"""Colorize a few photos with the weights of the moment, as a picture.

Also a program, ``python -m autocolor.training.preview MODEL_FOLDER OUT PHOTO...``, which is how a training
calls it: another process draws no random numbers from the training's generator, and cannot take it
along when Caffe aborts on a net that is no colorizer.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocolor.core.errors import AutocolorError
from autocolor.core.files import atomic_path
from autocolor.runtime.model_folder import MANIFEST_NAME, Manifest, ModelError


@dataclass(frozen=True)
class Previews:
    """Previews of a training.

    Attributes
    ----------
    photos : sequence of Path
        Colour photos.
    interval : int
        Iterations between two pictures.
    deploy : Path
        Prototxt of the dense net; a ``model.json`` beside it is heeded.
    """

    photos: Sequence[Path]
    interval: int
    deploy: Path

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
            process = subprocess.run(
                [sys.executable, "-m", "autocolor.training.preview", folder, out, *self.photos],
                capture_output=True, text=True, errors="replace", check=False,
            )  # fmt: skip
            if process.returncode == 0:
                return None
            lines = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
            fatal = [line for line in lines if line.startswith("F")]
            return (fatal or lines[-1:])[0].replace(str(folder / manifest.deploy), str(self.deploy))


def main(arguments: Sequence[str]) -> int:
    """Command line of the module; returns the exit status."""
    from autocolor.evaluation.evaluate import EvaluationProtocol, evaluate
    from autocolor.evaluation.gallery import draw_gallery
    from autocolor.runtime.colorizer import Colorizer

    photos = [Path(name) for name in arguments[2:]]
    try:
        colorize = Colorizer(arguments[0]).colorize
        evaluation = evaluate(
            {"ours": colorize},
            photos,
            protocol=EvaluationProtocol(extras=False),
            replicates=0,
            gallery_size=len(photos),
            progress=False,
        )
        with atomic_path(Path(arguments[1])) as partial:
            draw_gallery(evaluation.gallery).save(partial)
    except (AutocolorError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
