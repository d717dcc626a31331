"""Deploy nets read from their prototxt without Caffe, for other programs to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from autocolor.runtime.model_folder import ModelError

SCHEMA = Path(__file__).with_name("deploy_net.pbtxt")
"""What a deploy net may say, out of caffe.proto; tools/generate_prototxt.py writes it."""


def read_deploy(path: Path) -> Any:
    """Read a deploy prototxt, as a message with the fields, names and defaults of a ``NetParameter``.

    It may have any field of Caffe's layers that colorizers are made of; other layers' are refused.

    Raises
    ------
    ModelError
        If there is no such file, it is no prototxt, or says something that only Caffe knows.
    """
    net = _net_class()()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), net)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path}: not a prototxt that can be run without Caffe: {error}"
        ) from error
    return net


def _net_class() -> Any:
    """Return the class of the message ``NetParameter``, in a pool of its own beside Caffe's."""
    file = text_format.Parse(SCHEMA.read_text(encoding="utf-8"), FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))
