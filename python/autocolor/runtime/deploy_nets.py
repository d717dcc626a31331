"""Deploy nets read from their prototxt without Caffe, for other programs to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from autocolor.runtime.model_folder import ModelError

# What a deploy net may say, by the names of caffe.proto: message to field to type. A * stands for
# a repeated field, and a default follows =. What is not here is refused, by its name and line.
_MESSAGES: dict[str, dict[str, str]] = {
    "Net": {"name": "string", "layer": "Layer*"},
    "Layer": {
        "name": "string",
        "type": "string",
        "bottom": "string*",
        "top": "string*",
        "param": "Param*",
        "input_param": "Input",
        "convolution_param": "Convolution",
        "pooling_param": "Pooling",
        "power_param": "Power",
        "relu_param": "ReLU",
        "softmax_param": "Softmax",
        "hypercolumn_inner_product_param": "HypercolumnInnerProduct",
    },
    "Param": {"lr_mult": "float", "decay_mult": "float"},
    "Input": {"shape": "Shape*"},
    "Shape": {"dim": "int64*"},
    "Convolution": {
        "num_output": "uint32",
        "bias_term": "bool=true",
        "pad": "uint32*",
        "kernel_size": "uint32*",
        "stride": "uint32*",
        "weight_filler": "Filler",
        "bias_filler": "Filler",
    },
    "Filler": {"type": "string", "value": "float"},
    "Pooling": {
        "pool": "PoolMethod=MAX",
        "kernel_size": "uint32",
        "stride": "uint32=1",
    },
    "Power": {"power": "float=1", "scale": "float=1", "shift": "float=0"},
    "ReLU": {"negative_slope": "float=0"},
    "Softmax": {"axis": "int32=1"},
    "HypercolumnInnerProduct": {
        "num_output": "uint32",
        "bias_term": "bool=true",
        "weight_filler": "Filler",
        "bias_filler": "Filler",
        "scale": "float*",
        "offset_height": "float*",
        "offset_width": "float*",
        "activation_mult": "float*",
        "stride": "uint32=1",
    },
}
_ENUMS = {"PoolMethod": ("MAX", "AVE", "STOCHASTIC")}
_PACKAGE = "autocolor"


def _net_class() -> Any:
    """Return the class of the message ``Net``, in a pool of its own beside Caffe's."""
    file = FileDescriptorProto(name="deploy_net.proto", package=_PACKAGE)
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field_name, kind) in enumerate(fields.items(), start=1):
            kind, _, default = kind.partition("=")
            field = message.field.add(name=field_name, number=number)
            repeated = kind.endswith("*")
            field.label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
            kind = kind.removesuffix("*")
            if default:
                field.default_value = default
            if kind in _MESSAGES or kind in _ENUMS:
                field.type_name = f".{_PACKAGE}.{kind}"
                field.type = Field.TYPE_MESSAGE if kind in _MESSAGES else Field.TYPE_ENUM
            else:
                field.type = Field.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Net"))


def parse_deploy(text: str, source: str) -> Any:
    """Parse a deploy prototxt.

    Parameters
    ----------
    text : str
    source : str
        File name or the like, for the error.

    Returns
    -------
    message
        With the fields, names and defaults of Caffe's ``NetParameter``, as far as deploy nets of
        :class:`autocolor.nets.colorization.ColorizationNet` have them.

    Raises
    ------
    ModelError
        If the text is no prototxt, or says something that only Caffe knows.
    """
    net = _net_class()()
    try:
        text_format.Parse(text, net)
    except text_format.ParseError as error:
        raise ModelError(
            f"{source}: not a prototxt that can be run without Caffe: {error}"
        ) from error
    return net


def read_deploy(path: Path) -> Any:
    """Read a deploy prototxt, see :func:`parse_deploy`.

    Raises
    ------
    ModelError
        Also if there is no such file, or it is no text.
    """
    try:
        return parse_deploy(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: not a prototxt: {error}") from error
