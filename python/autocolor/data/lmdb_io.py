"""Write and read LMDBs of Caffe Datums, as Caffe's own ``Data`` layer reads them.

Needs pycaffe, for the ``Datum`` message.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import lmdb
import numpy as np
import numpy.typing as npt
from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError
from PIL import Image

from autocolor.core.isolation import Runner, run_isolated
from autocolor.data.augmentation import DamageOptions, damaged
from autocolor.data.lmdb_check import check_lmdb
from autocolor.imaging.images import ImageError, read_image

_LONGEST_SIDE = 65_500  # of a JPEG

# A JPEG that is this many times too large, or more, is reduced while it is decoded. At 2, on 25
# photos of 3 to 12 megapixels, that takes a seventh of the time and moves the result by 0.8 of 255
# levels (root mean square), less than the JPEG that is then stored does.
_DECODING_MARGIN = 2


@dataclass(frozen=True)
class LmdbOptions:
    """How images are stored."""

    #: The smaller side is reduced to at most this (the paper: 256). Never enlarged, but for
    #: `minimum_side`.
    side: int = 256
    #: Images with a smaller side below this are enlarged to it, because Caffe's random crop needs
    #: images no smaller than the crop
    minimum_side: int = 224
    encoding: str = "jpeg"  #: {"jpeg", "png", "raw"}
    quality: int = 95  #: Of JPEG
    #: Keep images without any colour: a classifier learns from them as well
    keep_grey: bool = False

    def prepare(self, path: Path, number: int = 0) -> Image.Image:
        """Read an image as `read_resized` does.

        Parameters
        ----------
        path : Path
        number : int
            Of the record, for kinds of records that have something random.

        Raises
        ------
        ImageError
            If it cannot be read, or has no colour to learn from.
        """
        image = read_resized(path, self)
        if not self.keep_grey and (np.diff(np.asarray(image)) == 0).all():
            raise ImageError(f"{path}: has no colour to learn from")
        return image


@dataclass(frozen=True)
class ViewOptions(LmdbOptions):
    """Views of photos: of a random size, often with another tone or a damaged lightness."""

    #: The smaller side of a view is from this to `side`, each size as often as any other
    minimum_side: int = 128
    damage: DamageOptions = DamageOptions()
    seed: int = 0  #: With the number of a record, it decides what is random in it

    def prepare(self, path: Path, number: int = 0) -> Image.Image:
        """Make the view of a photo that is record `number`; errors are those of `LmdbOptions`."""
        rng = np.random.default_rng([self.seed, number])
        side = int(rng.integers(self.minimum_side, self.side + 1))
        image = super(ViewOptions, replace(self, side=side, minimum_side=side)).prepare(path)
        rgb = damaged(np.asarray(image, np.float32) / np.float32(255), rng, self.damage)
        return Image.fromarray(np.rint(rgb * np.float32(255)).astype(np.uint8))


def read_resized(path: Path, options: LmdbOptions) -> Image.Image:
    """Read an image as 8-bit RGB, upright, transparent parts on white, resized by `options`.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    photo = read_image(path, least_side=_DECODING_MARGIN * max(options.side, options.minimum_side))
    rgb = photo.rgb
    if photo.alpha is not None:
        rgb = 1 - photo.alpha[..., None] * (1 - rgb)
    image = Image.fromarray(np.rint(rgb * 255).astype(np.uint8))
    smaller = min(image.size)
    side = max(min(smaller, options.side), options.minimum_side)
    # max: rounding must not undercut the side that Caffe's crop relies on
    width, height = (max(side, round(length * side / smaller)) for length in image.size)
    if max(width, height) > _LONGEST_SIDE:
        raise ImageError(
            f"{path}: expected sides of at most {_LONGEST_SIDE} pixels, got {width} x {height} "
            f"after resizing {image.width} x {image.height}"
        )
    return image if side == smaller else image.resize((width, height), Image.Resampling.LANCZOS)


def make_datum(image: Image.Image, options: LmdbOptions, label: int = 0) -> caffe_pb2.Datum:
    """Datum of an RGB or grey image: encoded, or raw uint8 of shape (C, H, W), colour as BGR."""
    channels = len(image.getbands())
    datum = caffe_pb2.Datum(channels=channels, height=image.height, width=image.width, label=label)
    if options.encoding == "raw":
        bgr = np.atleast_3d(np.asarray(image))[..., ::-1].transpose(2, 0, 1)
        datum.data = bgr.tobytes()
        return datum
    stream = io.BytesIO()
    if options.encoding == "jpeg":
        # Full chroma resolution: colour is what is learnt.
        image.save(stream, "JPEG", quality=options.quality, subsampling=0)
    else:
        image.save(stream, "PNG")
    datum.data = stream.getvalue()
    datum.encoded = True
    return datum


def decode_datum(datum: caffe_pb2.Datum) -> npt.NDArray[np.uint8]:
    """Image of a Datum: uint8 (H, W, 3), RGB, or (H, W, C) of one that is not encoded.

    Raises
    ------
    ImageError
        If the Datum is damaged.
    """
    if datum.encoded:
        try:
            with Image.open(io.BytesIO(datum.data), formats=("JPEG", "PNG")) as image:
                return np.asarray(image.convert("RGB"))
        # Pillow's decoders raise errors of many types on damaged data.
        except Exception as error:
            raise ImageError(f"Datum: cannot be decoded: {error}") from error
    shape = (datum.channels, datum.height, datum.width)
    if min(shape) < 1 or math.prod(shape) != len(datum.data):
        raise ImageError(f"Datum: {len(datum.data)} bytes for the shape {shape}")
    bgr = np.frombuffer(datum.data, dtype=np.uint8).reshape(shape)
    return np.ascontiguousarray(bgr.transpose(1, 2, 0)[..., ::-1])


@contextmanager
def open_lmdb(path: Path, run: Runner = run_isolated) -> Iterator[lmdb.Transaction]:
    """Give a transaction that reads an LMDB, or raise an `ImageError` if it is missing or damaged."""
    check_lmdb(path, run)
    try:
        with lmdb.open(str(path), readonly=True, lock=False) as environment:
            with environment.begin() as transaction:
                yield transaction
    except lmdb.Error as error:
        raise ImageError(f"{path}: {error}") from error


def read_datums(path: Path, run: Runner = run_isolated) -> Iterator[tuple[str, caffe_pb2.Datum]]:
    """Yield key and Datum of every record, in the order of the keys.

    An `ImageError` if there is no such LMDB, it is damaged (see `check_lmdb`), or a record is no Datum.
    """
    with open_lmdb(path, run) as transaction:
        for key, value in transaction.cursor():
            name = bytes(key).decode("utf-8", "replace")
            yield name, parse_datum(bytes(value), f"{path}: {name}")


def count_records(path: Path) -> int:
    """Return the number of records; errors are those of `read_datums`."""
    with open_lmdb(path) as transaction:
        return int(transaction.stat()["entries"])


def sample_datums(path: Path, count: int, generator: np.random.Generator) -> list[caffe_pb2.Datum]:
    """Return at most `count` records from all over an LMDB, in random order.

    Errors are those of `read_datums`.
    """
    with open_lmdb(path) as transaction:
        keys = list(transaction.cursor().iternext(values=False))
        order = generator.permutation(len(keys))[:count]
        return [
            parse_datum(bytes(transaction.get(keys[i]) or b""), f"{path}: {keys[i]!r}")
            for i in order
        ]


def parse_datum(value: bytes, place: str) -> caffe_pb2.Datum:
    """Return a Datum that was serialized, or raise an `ImageError` that says from which `place`."""
    try:
        return caffe_pb2.Datum.FromString(value)
    except DecodeError:
        raise ImageError(f"{place}: expected a Datum of Caffe's") from None
