"""Write and read LMDBs of Caffe Datums, as Caffe's own ``Data`` layer reads them.

Needs pycaffe, for the ``Datum`` message.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import lmdb
import numpy as np
import numpy.typing as npt
from caffe.proto import caffe_pb2
from PIL import Image

from autocolor.files import atomic_path
from autocolor.images import ImageError, read_image, resize

_MANIFEST = "autocolor.json"
_BATCH = 100  # images a transaction
_LARGEST_LMDB = 2**40  # of address space; the file grows as needed


@dataclass(frozen=True)
class LmdbOptions:
    """How images are stored.

    Attributes
    ----------
    side : int
        The smaller side is reduced to at most this (the paper: 256). Never enlarged, but for
        `minimum_side`.
    minimum_side : int
        Images with a smaller side below this are enlarged to it, because Caffe's random crop needs
        images no smaller than the crop.
    encoding : {"jpeg", "png", "raw"}
    quality : int
        Of JPEG.
    """

    side: int = 256
    minimum_side: int = 224
    encoding: str = "jpeg"
    quality: int = 95

    def prepare(self, path: Path) -> Image.Image:
        """Read an image as `read_resized` does.

        Raises
        ------
        ImageError
            If it cannot be read, or has no colour to learn from.
        """
        image = read_resized(path, self)
        if (np.diff(np.asarray(image)) == 0).all():
            raise ImageError(f"{path}: has no colour to learn from")
        return image


def read_resized(path: Path, options: LmdbOptions) -> Image.Image:
    """Read an image as 8-bit RGB, upright, transparent parts on white, resized by `options`.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    photo = read_image(path)
    rgb = photo.rgb
    if photo.alpha is not None:
        rgb = 1 - photo.alpha[..., None] * (1 - rgb)
    smaller = min(rgb.shape[:2])
    side = max(min(smaller, options.side), options.minimum_side)
    if side != smaller:
        # max: rounding must not undercut the side that Caffe's crop relies on
        height, width = (max(side, round(length * side / smaller)) for length in rgb.shape[:2])
        rgb = resize(rgb, (height, width))
    return Image.fromarray(np.rint(rgb * 255).astype(np.uint8))


def make_datum(image: Image.Image, options: LmdbOptions) -> caffe_pb2.Datum:
    """Datum of an RGB or grey image: encoded, or raw uint8 of shape (C, H, W), colour as BGR."""
    channels = len(image.getbands())
    datum = caffe_pb2.Datum(channels=channels, height=image.height, width=image.width, label=0)
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
    """Image of a Datum: uint8 (H, W, 3), RGB."""
    if datum.encoded:
        with Image.open(io.BytesIO(datum.data)) as image:
            return np.asarray(image.convert("RGB"))
    shape = (datum.channels, datum.height, datum.width)
    bgr = np.frombuffer(datum.data, dtype=np.uint8).reshape(shape)
    return np.ascontiguousarray(bgr.transpose(1, 2, 0)[..., ::-1])


def read_datums(path: Path) -> Iterator[tuple[str, caffe_pb2.Datum]]:
    """Yield key and Datum of every record, in the order of the keys."""
    with lmdb.open(str(path), readonly=True, lock=False) as environment:
        with environment.begin() as transaction:
            for key, value in transaction.cursor():
                yield key.decode("utf-8", "replace"), caffe_pb2.Datum.FromString(value)


def sample_datums(path: Path, count: int, generator: np.random.Generator) -> list[caffe_pb2.Datum]:
    """Return at most `count` records from all over an LMDB, in random order.

    Only the chosen ones are read, so that it takes little longer on an LMDB of millions.
    """
    with lmdb.open(str(path), readonly=True, lock=False) as environment:
        with environment.begin() as transaction:
            keys = list(transaction.cursor().iternext(values=False))
            order = generator.permutation(len(keys))[:count]
            return [caffe_pb2.Datum.FromString(transaction.get(keys[i])) for i in order]


def is_complete(path: Path, photos: Sequence[Path], options: LmdbOptions) -> bool:
    """Whether `path` holds an LMDB made of exactly these photos with these options."""
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("fingerprint") == _fingerprint(
        photos, options
    )


def write_lmdb(
    photos: Sequence[Path], path: Path, options: LmdbOptions, progress: Iterator[Path]
) -> list[tuple[Path, str]]:
    """Write photos into a new LMDB, which replaces `path` once it is complete.

    A run that was cut off leaves its part in ``PATH.part``; the next one with the same photos and
    options goes on from there.

    Parameters
    ----------
    photos : sequence of Path
    path : Path
    options : LmdbOptions
    progress : iterator over `photos`
        Wraps them in a progress bar.

    Returns
    -------
    list of (Path, str)
        Photos that were skipped, and why.
    """
    part = path.with_name(path.name + ".part")
    state_file = part / _MANIFEST
    fingerprint = _fingerprint(photos, options)
    state: dict[str, object] = {"fingerprint": fingerprint, "done": 0, "skipped": []}
    try:
        previous = json.loads(state_file.read_text(encoding="utf-8"))
        if previous["fingerprint"] == fingerprint:
            state = previous
        else:
            shutil.rmtree(part)
    except (OSError, ValueError, KeyError, TypeError):
        shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, exist_ok=True)

    done = int(str(state["done"]))
    skipped = [(Path(name), reason) for name, reason in state["skipped"]]  # type: ignore[attr-defined]
    records: list[tuple[bytes, bytes]] = []
    with lmdb.open(str(part), map_size=_LARGEST_LMDB) as environment:

        def flush(count: int) -> None:
            with environment.begin(write=True) as transaction:
                for key, value in records:
                    transaction.put(key, value)
            records.clear()
            # Written after the data: at worst the next run writes some records again.
            state.update(done=count, skipped=[[str(name), reason] for name, reason in skipped])
            with atomic_path(state_file) as partial:
                partial.write_text(json.dumps(state), encoding="utf-8")

        for index, photo in enumerate(progress):
            if index < done:
                continue
            try:
                datum = make_datum(options.prepare(photo), options)
                key = f"{index:08d}_{photo.name}".encode("utf-8", "replace")[:500]
                records.append((key, datum.SerializeToString()))
            except ImageError as error:
                skipped.append((photo, " ".join(str(error).split())))
            if (index + 1) % _BATCH == 0:
                flush(index + 1)
        flush(len(photos))
    (part / "lock.mdb").unlink(missing_ok=True)
    if path.exists():
        shutil.rmtree(path)
    part.replace(path)
    return skipped


def _fingerprint(photos: Sequence[Path], options: LmdbOptions) -> str:
    names = [[str(photo), photo.stat().st_size if photo.exists() else -1] for photo in photos]
    return hashlib.sha256(json.dumps([names, asdict(options)]).encode()).hexdigest()
