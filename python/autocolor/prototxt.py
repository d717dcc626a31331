"""Turn the networks into the prototxt files of a model folder. Needs pycaffe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import Message

from autocolor.files import atomic_path
from autocolor.networks import (
    EdgeTrainingOptions,
    SolverOptions,
    TrainingOptions,
    deploy_net,
    edge_deploy_net,
    edge_training_net,
    solver,
    training_net,
)

MODEL_NAME = "hue_chroma_data-conv5_3"
"""Folder of the first model: hue/chroma, K = 32, on the levels data … conv5_3."""

EDGE_MODEL_NAME = "edges_data-conv3_3"
"""Folder of the edge detector, on the levels data … conv3_3."""

MODEL_NAMES = (MODEL_NAME, EDGE_MODEL_NAME)

_HEADER = "# Written by tools/generate_prototxt.py from python/autocolor/networks.py: do not edit.\n"


def default_options(
    name: str = MODEL_NAME,
) -> tuple[TrainingOptions | EdgeTrainingOptions, str, SolverOptions]:
    """Training options, validation source and solver options of a checked-in model.

    Paths are relative to the repository's root, where ``caffe train`` is started.

    Raises
    ------
    ValueError
        If `name` is none of `MODEL_NAMES`.
    """
    if name not in MODEL_NAMES:
        raise ValueError(f"name: expected one of {MODEL_NAMES}, got {name!r}")
    folder = f"prototxt/{name}"
    solver_options = SolverOptions(
        f"{folder}/train.prototxt",
        f"{folder}/test.prototxt",
        f"build/snapshots/{name}",
        iterations=10000,
    )
    if name == MODEL_NAME:
        return TrainingOptions("build/data/train_lmdb"), "build/data/validation_lmdb", solver_options
    return (
        EdgeTrainingOptions("build/edges/train"),
        "build/edges/test",
        replace(solver_options, iterations=300, base_learning_rate=0.1, test_interval=100),
    )


def model_files(
    training: TrainingOptions | EdgeTrainingOptions,
    validation_source: str,
    solver_options: SolverOptions,
) -> dict[str, str]:
    """File name to text: ``train``, ``test``, ``deploy`` and ``solver`` prototxt."""
    validation = replace(training, source=validation_source)
    messages: dict[str, Message]
    if isinstance(training, EdgeTrainingOptions):
        messages = {
            "train.prototxt": edge_training_net(training, "train"),
            "test.prototxt": edge_training_net(validation, "test"),
            "deploy.prototxt": edge_deploy_net(),
        }
    else:
        messages = {
            "train.prototxt": training_net(training, "train"),
            "test.prototxt": training_net(validation, "test"),
            "deploy.prototxt": deploy_net(),
        }
    messages["solver.prototxt"] = solver(solver_options)
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
