"""Messages read from prototxt; deploy nets also without Caffe, for other programs to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message

from autocolor.core.errors import AutocolorError
from autocolor.core.files import check_is_file, one_line
from autocolor.runtime.model_folder import ModelError

M = TypeVar("M", bound=Message)

SCHEMA = Path(__file__).with_name("deploy_net.pbtxt")
"""What a deploy net may say, out of caffe.proto; tools/generate_prototxt.py writes it."""


def read_prototxt(
    path: Path, message: M, error: type[AutocolorError], kind: str = "of this Caffe"
) -> M:
    """Read a file in protobuf's text format into `message`, or raise `error`, one line that names it."""
    try:
        check_is_file(path)
        text_format.Parse(path.read_text(encoding="utf-8"), message)
    except OSError as problem:
        raise error(one_line(problem)) from None
    except (ValueError, text_format.ParseError) as problem:
        raise error(f"{path}: expected a prototxt {kind}: {one_line(problem)}") from None
    return message


def read_deploy(path: Path) -> Any:
    """Read a deploy prototxt, as a message with the fields, names and defaults of a ``NetParameter``.

    It may have any field of Caffe's layers that colorizers are made of; other layers' are refused.

    Raises
    ------
    ModelError
        If there is no such file, it is no prototxt, or says something that only Caffe knows.
    """
    return read_prototxt(path, _net_class()(), ModelError, "that can be run without Caffe")


def _net_class() -> Any:
    """Return the class of the message ``NetParameter``, in a pool of its own beside Caffe's."""
    file = text_format.Parse(SCHEMA.read_text(encoding="utf-8"), FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))
