"""Options of the commands that colorize: which model, on which device, run by what."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from autocolor.runtime.backends import BACKENDS
from autocolor.runtime.shipped import shipped_model_folder

MODEL_VARIABLE = "AUTOCOLOR_MODEL"


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``, ``--device`` and ``--backend`` to a parser."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        type=Path,
        metavar="FOLDER",
        help="trained model, a folder with model.json (default: "
        f"${MODEL_VARIABLE}, or else the one that comes with autocolor)",
    )
    group.add_argument(
        "--device", default="cpu", metavar="DEVICE", help="cpu, gpu or gpu:1 (default: %(default)s)"
    )
    group.add_argument(
        "--backend",
        choices=BACKENDS,
        default=BACKENDS[0],
        help="what runs the network: Caffe, or onnxruntime (pip install onnxruntime), which gives "
        "the same colours; auto is Caffe where it is built (default: %(default)s)",
    )


def chosen_model(given: Path | None) -> Path:
    """Return the folder of ``--model``, of the environment, or of the model of this package.

    The first use of the last one says on standard error what takes its time.

    Raises
    ------
    autocolor.runtime.model_folder.ModelError
        If the package is incomplete or its model cannot be written out.
    """
    if given is not None:
        return given
    if os.environ.get(MODEL_VARIABLE):
        return Path(os.environ[MODEL_VARIABLE])
    return shipped_model_folder(say=lambda text: print(f"autocolor: {text}", file=sys.stderr))
