"""Write the prototxt files of a model: train, test, deploy and solver."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from caffe.proto import caffe_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumValueDescriptorProto,
    FileDescriptorProto,
)
from model_costs import models_table

from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.core.variants import VARIANTS
from autocolor.nets.catalogue import (
    DEMO_MODEL,
    Model,
    all_models,
    shipped_files,
    to_texts,
    write_files,
)
from autocolor.runtime.deploy_nets import SCHEMA
from autocolor.runtime.shipped import FOLDER

# What deploy nets are made of in caffe.proto: all fields of these messages can be read without Caffe,
# but for those of other messages. runtime/onnx_graph.py says which of them it knows.
_DEPLOY_MESSAGES = (
    "NetParameter",
    "LayerParameter",
    "ParamSpec",
    "NetStateRule",
    "InputParameter",
    "BlobShape",
    "ConvolutionParameter",
    "FillerParameter",
    "PoolingParameter",
    "PowerParameter",
    "ReLUParameter",
    "SoftmaxParameter",
    "HypercolumnInnerProductParameter",
)
_DEPLOY_ENUMS = ("Phase",)
# Only a Caffe with oneDNN has them: the engine is known in any case, the field, which no file has, never.
_ONEDNN: dict[str, Any] = {"name": "ONEDNN", "number": 7100}
_FUSED = "fuse_relu"

_NETWORK_OPTIONS = ("variant", "levels", "bins", "classes", "width")
_TRAINING_OPTIONS = ("source", "batch", "crop", "locations", "backbone_rate")
_OPTIONS = {"backbone_rate": "frozen"}  # where they have another name


def deploy_schema() -> dict[str, str]:
    """Return the part of caffe.proto that deploy nets use, for where there is no Caffe."""
    file = FileDescriptorProto(name="deploy_net.proto", package="caffe")
    for name in _DEPLOY_ENUMS:
        caffe_pb2.DESCRIPTOR.enum_types_by_name[name].CopyToProto(file.enum_type.add())
    known = {f".caffe.{name}" for name in (*_DEPLOY_MESSAGES, *_DEPLOY_ENUMS)}
    for name in _DEPLOY_MESSAGES:
        whole = DescriptorProto()
        getattr(caffe_pb2, name).DESCRIPTOR.CopyToProto(whole)
        own = {f".caffe.{name}.{enum.name}" for enum in whole.enum_type}
        message = file.message_type.add(name=name, enum_type=whole.enum_type)
        message.field.extend(
            field
            for field in whole.field
            if field.type_name in {"", *known, *own} and field.name != _FUSED
        )
        for enum in message.enum_type:
            if (name, enum.name) == ("ConvolutionParameter", "Engine"):
                values = [value for value in enum.value if value.name != _ONEDNN["name"]]
                del enum.value[:]
                enum.value.extend([*values, EnumValueDescriptorProto(**_ONEDNN)])
    return to_texts({SCHEMA.name: file})


def changed_model(arguments: argparse.Namespace) -> Model:
    """Return the chosen model with what the command line changes."""
    model = all_models()[arguments.model]
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    network = {name: given[name] for name in _NETWORK_OPTIONS if name in given}
    for name in network:
        if name not in {field.name for field in fields(model.network)}:
            raise ValueError(f"--{name}: not an option of {arguments.model}")
    training = {name: given[name] for name in _TRAINING_OPTIONS if name in given}
    for name in training:
        if name not in model.network.TRAINING_OPTIONS:
            raise ValueError(f"--{_OPTIONS.get(name, name)}: not an option of {arguments.model}")
    iterations = given.get("iterations", model.solver.iterations)
    return replace(
        model,
        network=replace(model.network, **network),
        training=replace(model.training, **training),
        validation_source=given.get("validation_source", model.validation_source),
        # A short training is tested as well, at its end.
        solver=replace(
            model.solver,
            iterations=iterations,
            test_interval=min(model.solver.test_interval, iterations),
        ),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        f"""\
examples:
  python tools/generate_prototxt.py            # rewrites prototxt/, its pictures and the shipped model's
  python tools/generate_prototxt.py --check    # exits with 1 if a checked-in file is stale
  python tools/generate_prototxt.py --out my_model --source my_lmdb --batch 4 --frozen
  python tools/generate_prototxt.py --out my_model --variant lab_joint --levels conv4_1..fc7 --bins 10

With --out, a model is written there: --model (default {DEMO_MODEL}) with what the
other options change. prototxt/README.md lists the models. Paths inside the files are relative to
the folder in which caffe train is started.""",
    )
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--out", type=Path, help="folder for the files of one model")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    model = parser.add_argument_group("one model, with --out")
    model.add_argument(
        "--model", choices=all_models(), metavar="MODEL", help="folder of prototxt/ to start from"
    )
    model.add_argument("--variant", choices=VARIANTS, help="what a colorizer predicts")
    model.add_argument("--levels", metavar="FIRST..LAST", help="of the hypercolumn, data..fc7")
    model.add_argument("--bins", type=at_least(1), help="of each channel of a histogram")
    model.add_argument("--classes", type=at_least(1), help="of the classifier")
    model.add_argument("--width", type=float, help="factor on the channels of hidden layers")
    model.add_argument("--source", help="LMDB of training images; of the edges, folder of two")
    model.add_argument("--validation-source", help="the same of validation images")
    model.add_argument("--batch", type=at_least(1), help="images a batch")
    model.add_argument("--crop", type=at_least(1), help="side of the random crop")
    model.add_argument("--locations", type=at_least(1), help="hypercolumns an image")
    model.add_argument("--iterations", type=at_least(1), help="of the solver")
    model.add_argument(
        "--frozen",
        dest="backbone_rate",
        action="store_const",
        const=0.0,
        help="train the head only, on a VGG-16 that stays as it is",
    )
    arguments = parser.parse_args(argv)
    if arguments.out:
        arguments.model = arguments.model or DEMO_MODEL
        try:
            files = {arguments.out: changed_model(arguments).in_folder(arguments.out).files()}
        except ValueError as error:
            parser.error(str(error))
    else:
        for name, value in vars(arguments).items():
            if name not in ("out", "check") and value is not None:
                option = _OPTIONS.get(name, name).replace("_", "-")
                parser.error(f"--{option}: expected --out beside it")
        models = all_models()
        files = {root / "prototxt" / name: model.files() for name, model in models.items()}
        files[root / "prototxt"] = {"README.md": models_table(models)}
        files[FOLDER] = shipped_files()
        files[SCHEMA.parent] = deploy_schema()
        # It needs Graphviz, which a net of one's own does not.
        from net_pictures import pictures

        files[root / "docs" / "networks"] = pictures(models)

    if not arguments.check:
        for folder, texts in files.items():
            write_files(folder, texts)
            print(f"{folder}: wrote {', '.join(texts)}")
        return 0
    stale = [
        folder / name
        for folder, texts in files.items()
        for name, text in texts.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(
            f"generate_prototxt: error: {path} differs from what python/autocolor describes",
            file=sys.stderr,
        )
    return 1 if stale else 0


if __name__ == "__main__":
    run_program(main)
