"""Turn the networks into the prototxt files of a model folder. Needs pycaffe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import Message

from autocolor.files import atomic_path
from autocolor.networks import (
    SolverOptions,
    TrainingOptions,
    deploy_net,
    solver,
    training_net,
)

MODEL_NAME = "hue_chroma_data-conv5_3"
"""Folder of the first model: hue/chroma, K = 32, on the levels data … conv5_3."""

_HEADER = "# Written by tools/generate_prototxt.py from python/autocolor/networks.py: do not edit.\n"


def default_options() -> tuple[TrainingOptions, str, SolverOptions]:
    """Training options, validation LMDB and solver options of the checked-in model.

    Paths are relative to the repository's root, where ``caffe train`` is started.
    """
    folder = f"prototxt/{MODEL_NAME}"
    return (
        TrainingOptions("build/data/train_lmdb"),
        "build/data/validation_lmdb",
        SolverOptions(
            f"{folder}/train.prototxt",
            f"{folder}/test.prototxt",
            f"build/snapshots/{MODEL_NAME}",
            iterations=10000,
        ),
    )


def model_files(
    training: TrainingOptions, validation_source: str, solver_options: SolverOptions
) -> dict[str, str]:
    """File name to text: ``train``, ``test``, ``deploy`` and ``solver`` prototxt."""
    messages: dict[str, Message] = {
        "train.prototxt": training_net(training, "train"),
        "test.prototxt": training_net(replace(training, source=validation_source), "test"),
        "deploy.prototxt": deploy_net(),
        "solver.prototxt": solver(solver_options),
    }
    return {
        name: _HEADER + text_format.MessageToString(message)
        for name, message in messages.items()
    }


def write_model_files(folder: Path, files: dict[str, str]) -> None:
    """Write the files into `folder`, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        with atomic_path(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
