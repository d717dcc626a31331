"""The models in ``prototxt/``: a network, how it is trained, and the files of both. Needs pycaffe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import Message

from autocolor.core.errors import InputError
from autocolor.core.files import write_atomically
from autocolor.nets.colorization import Classifier, ColorizationNet, TrainingOptions
from autocolor.nets.edges import EdgeDetector
from autocolor.nets.solver import SolverOptions, solver
from autocolor.runtime.model_folder import Manifest
from autocolor.runtime.shipped import shipped_manifest

DEMO_MODEL = "hue_chroma_data-conv5_3"
"""The largest of the paper's networks whose pretrained weights package registries have."""

_HEADER = "# Written by tools/generate_prototxt.py from python/autocolor/: do not edit.\n"
EPOCH = 150_000
"""Iterations of one epoch of ImageNet's 1.2 million images (section 4), in batches of 8."""


@dataclass(frozen=True)
class Model:
    """A network and how it is trained."""

    description: str  #: Where it stands in the paper
    network: ColorizationNet | Classifier | EdgeDetector
    training: TrainingOptions
    validation_source: str  #: LMDB of the test net
    solver: SolverOptions

    def files(self, cached_levels: str | None = None) -> dict[str, str]:
        """File name to text: ``train``, ``test``, ``deploy`` and ``solver`` prototxt.

        With `cached_levels` they are to train the head on cached hypercolumns, without ``deploy``, and
        both sources are lists of files: see :meth:`ColorizationNet.head_training_net`.
        """
        network, messages = self.network, dict[str, Message]()
        for phase, source in (("train", self.training.source), ("test", self.validation_source)):
            options = replace(self.training, source=source)
            if cached_levels is None:
                net = network.training_net(options, phase)
            elif isinstance(network, ColorizationNet):
                net = network.head_training_net(options, cached_levels, phase)
            else:
                raise InputError("network", f"expected a ColorizationNet, got {network}")
            messages[f"{phase}.prototxt"] = net
        if cached_levels is None:
            messages["deploy.prototxt"] = network.deploy_net()
        return to_texts({**messages, "solver.prototxt": solver(self.solver)})

    def in_folder(self, folder: Path) -> Model:
        """Return the model with the paths of its files, and its snapshots, in another folder."""
        paths = replace(
            self.solver,
            train_net=str(folder / "train.prototxt"),
            test_net=str(folder / "test.prototxt"),
            snapshot_prefix=str(folder / "snapshot"),
        )
        return replace(self, solver=paths)


def to_texts(messages: Mapping[str, Message]) -> dict[str, str]:
    """Return file name to text, of messages in protobuf's text format."""
    return {
        name: _HEADER + text_format.MessageToString(message) for name, message in messages.items()
    }


def _solver(name: str, iterations: int = EPOCH) -> SolverOptions:
    """Paths are relative to the repository's root, where ``caffe train`` is started."""
    return SolverOptions(
        f"prototxt/{name}/train.prototxt",
        f"prototxt/{name}/test.prototxt",
        f"build/snapshots/{name}",
        iterations=iterations,
    )


def _colorizer(name: str, description: str, network: ColorizationNet) -> Model:
    training = TrainingOptions("build/data/train_lmdb")
    return Model(description, network, training, "build/data/validation_lmdb", _solver(name))


def all_models() -> dict[str, Model]:
    """Folder name to model, of everything in ``prototxt/``."""
    models = {
        name: _colorizer(name, description, network)
        for name, description, network in [
            ("hue_chroma_data-fc7", "Table 1, hue/chroma; Table 2, data..fc7", ColorizationNet()),
            ("lab_l2_data-fc7", "Table 1, Lab L2 (Eq. 1)", ColorizationNet("lab_l2")),
            ("lab_marginal_data-fc7", "Table 1, Lab K = 32", ColorizationNet("lab_marginal")),
            ("lab_joint_data-fc7", "Table 1, Lab K = 16 x 16", ColorizationNet("lab_joint")),
            *(
                (
                    f"hue_chroma_{levels.replace('..', '-')}",
                    f"Table 2, {levels}",
                    ColorizationNet(levels=levels),
                )
                for levels in ("data..conv5_3", "conv4_1..fc7", "conv5_1..fc7", "fc6..fc7", "fc7")
            ),
            (
                "hue_chroma_data-fc7_slim",
                "an eighth as wide, for tests and laptops",
                ColorizationNet(width=1 / 8),
            ),
        ]
    }
    name = "vgg16_gray_classifier"
    models[name] = Model(
        "section 3.5, grey ImageNet classification",
        Classifier(),
        TrainingOptions("build/imagenet/train_lmdb", batch=32),
        "build/imagenet/validation_lmdb",
        # An epoch, from weights that are trained already: a tenth of VGG-16's own rate.
        replace(_solver(name, 37_500), base_learning_rate=1e-3),
    )
    name = "edges_data-conv3_3"
    models[name] = Model(
        "edges, not of the paper: the layers on another task",
        EdgeDetector(),
        TrainingOptions("build/edges/train", crop=128, locations=512),
        "build/edges/test",
        replace(_solver(name, 300), base_learning_rate=0.1, test_interval=100),
    )
    return models


def shipped_files(manifest: Manifest | None = None) -> dict[str, str]:
    """Deploy net of the shipped model, or of `manifest`, for where no Caffe describes it."""
    manifest = manifest or shipped_manifest()
    network = ColorizationNet(manifest.variant, manifest.levels, manifest.bins)
    return to_texts({manifest.deploy: network.deploy_net(manifest.stride)})


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files into `folder`, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_atomically(folder / name, text)
