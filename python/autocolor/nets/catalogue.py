"""The models in ``prototxt/``: a network, how it is trained, and the files of both. Needs pycaffe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from caffe.proto import caffe_pb2
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.message import Message

from autocolor.core.files import atomic_path
from autocolor.nets.colorization import Classifier, ColorizationNet, TrainingOptions
from autocolor.nets.costs import deploy_costs
from autocolor.nets.edges import EdgeDetector
from autocolor.nets.solver import SolverOptions, solver
from autocolor.nets.vgg16 import vgg16_levels
from autocolor.runtime.deploy_nets import SCHEMA
from autocolor.runtime.model_folder import Manifest
from autocolor.runtime.shipped import shipped_manifest

DEMO_MODEL = "hue_chroma_data-conv5_3"
"""The largest of the paper's networks whose pretrained weights package registries have."""

_HEADER = "# Written by tools/generate_prototxt.py from python/autocolor/: do not edit.\n"
# What deploy nets say, by message of caffe.proto. Any other field is refused without Caffe.
_DEPLOY_FIELDS = {
    "NetParameter": "name layer",
    "LayerParameter": "name type bottom top param input_param convolution_param pooling_param "
    "power_param relu_param softmax_param hypercolumn_inner_product_param",
    "ParamSpec": "lr_mult decay_mult",
    "InputParameter": "shape",
    "BlobShape": "dim",
    "ConvolutionParameter": "num_output bias_term pad kernel_size stride weight_filler bias_filler",
    "FillerParameter": "type value",
    "PoolingParameter": "pool kernel_size stride",
    "PowerParameter": "power scale shift",
    "ReLUParameter": "negative_slope",
    "SoftmaxParameter": "axis",
    "HypercolumnInnerProductParameter": "num_output bias_term weight_filler bias_filler scale "
    "offset_height offset_width activation_mult stride",
}

# One epoch of ImageNet's 1.2 million images (section 4) in batches of 8.
_EPOCH = 150_000


@dataclass(frozen=True)
class Model:
    """A network and how it is trained.

    Attributes
    ----------
    description : str
        Where it stands in the paper.
    network : ColorizationNet, Classifier or EdgeDetector
    training : TrainingOptions
    validation_source : str
        LMDB of the test net.
    solver : SolverOptions
    """

    description: str
    network: ColorizationNet | Classifier | EdgeDetector
    training: TrainingOptions
    validation_source: str
    solver: SolverOptions

    def files(self) -> dict[str, str]:
        """File name to text: ``train``, ``test``, ``deploy`` and ``solver`` prototxt."""
        validation = replace(self.training, source=self.validation_source)
        messages: dict[str, Message] = {
            "train.prototxt": self.network.training_net(self.training, "train"),
            "test.prototxt": self.network.training_net(validation, "test"),
            "deploy.prototxt": self.network.deploy_net(),
            "solver.prototxt": solver(self.solver),
        }
        return _texts(messages)

    def head_files(self, cached_levels: str) -> dict[str, str]:
        """As :meth:`files` without ``deploy``, to train the head on cached hypercolumns.

        Both sources are then lists of files: see :meth:`ColorizationNet.head_training_net`.
        """
        if not isinstance(self.network, ColorizationNet):
            raise TypeError(f"network: expected a ColorizationNet, got {self.network}")
        validation = replace(self.training, source=self.validation_source)
        return _texts(
            {
                "train.prototxt": self.network.head_training_net(
                    self.training, cached_levels, "train"
                ),
                "test.prototxt": self.network.head_training_net(validation, cached_levels, "test"),
                "solver.prototxt": solver(self.solver),
            }
        )

    def in_folder(self, folder: Path) -> Model:
        """Return the model with the paths of its files, and its snapshots, in another folder."""
        paths = replace(
            self.solver,
            train_net=str(folder / "train.prototxt"),
            test_net=str(folder / "test.prototxt"),
            snapshot_prefix=str(folder / "snapshot"),
        )
        return replace(self, solver=paths)


def _texts(messages: Mapping[str, Message]) -> dict[str, str]:
    return {
        name: _HEADER + text_format.MessageToString(message) for name, message in messages.items()
    }


def _solver(name: str, iterations: int = _EPOCH) -> SolverOptions:
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
    return _texts({manifest.deploy: network.deploy_net(manifest.stride)})


def deploy_schema() -> dict[str, str]:
    """Return the part of caffe.proto that deploy nets use, for where there is no Caffe."""
    file = FileDescriptorProto(name="deploy_net.proto", package="caffe")
    for name, kept in _DEPLOY_FIELDS.items():
        whole = DescriptorProto()
        getattr(caffe_pb2, name).DESCRIPTOR.CopyToProto(whole)
        message = file.message_type.add(name=name)
        message.field.extend(field for field in whole.field if field.name in kept.split())
        types = {field.type_name for field in message.field}
        message.enum_type.extend(
            enum for enum in whole.enum_type if f".caffe.{name}.{enum.name}" in types
        )
    return _texts({SCHEMA.name: file})


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files into `folder`, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        with atomic_path(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")


def models_table(models: Mapping[str, Model]) -> str:
    """Return ``prototxt/README.md``: what the models are and cost."""
    rows = []
    for name, model in models.items():
        network = model.network
        costs = deploy_costs(network.deploy_net(), 256, 256)
        channels = "–"
        if not isinstance(network, Classifier):
            width = network.width if isinstance(network, ColorizationNet) else 1
            channels = f"{sum(level.channels for level in vgg16_levels(network.levels, width)):,}"
        rows.append(
            f"| [`{name}`]({name}) | {model.description} | {channels} | "
            f"{costs.parameters / 1e6:.1f} M | {costs.bytes / 1e6:,.0f} MB | "
            f"{costs.multiply_adds / 1e9:.1f} G |"
        )
    table = "\n".join(rows)
    training, descent = TrainingOptions(""), SolverOptions("", "", "", 0)
    return f"""# The networks

Written by `tools/generate_prototxt.py` from `python/autocolor/`: do not edit. Each folder has `train`,
`test`, `deploy` and `solver` prototxt. Parameters, memory (parameters and blobs in float, without
gradients) and multiply-adds are of one forward pass of the deploy net on 256 × 256 pixels.

| folder | what | hypercolumn channels | parameters | memory | multiply-adds |
|---|---|---|---|---|---|
{table}

Colorizers are trained as follows unless the solver says otherwise: batches of {training.batch} images, random
crops of {training.crop} pixels, mirrored half of the time; {training.locations} random locations a crop; Xavier
initialisation of what is new; dropout {training.dropout} on `h_fc1` and between the fully connected layers of
VGG-16; stochastic gradient descent with momentum {descent.momentum}, weight decay {descent.weight_decay}, a learning rate that
falls linearly from {descent.base_learning_rate} to zero over {_EPOCH:,} iterations, which is one epoch of 1.2 million images.

Other combinations, for example a joint histogram of 10 × 10 bins on three blocks, half as wide:

```
python tools/generate_prototxt.py --variant lab_joint --levels conv3_1..conv5_3 --bins 10 --width 0.5 \\
    --locations 256 --batch 4 --source my_lmdb --validation-source my_validation_lmdb --out my_model
```
"""
