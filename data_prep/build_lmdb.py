"""Build an LMDB of colour photos for Caffe's Data layer."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from autocolor.core.errors import InputError
from autocolor.core.files import atomic_path
from autocolor.core.processes import Workers, available_processors, open_workers
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.data.augmentation import DamageOptions
from autocolor.data.lmdb_io import LmdbOptions, ViewOptions
from autocolor.data.lmdb_writer import (
    LmdbContent,
    LmdbWriteError,
    is_complete,
    read_skipped,
    shuffled_passes,
    write_lmdb,
)
from autocolor.data.photo_lists import (
    ListedPhoto,
    ListError,
    class_folders,
    label_by_folder,
    quote,
    read_photo_list,
    write_photo_list,
)
from autocolor.data.photos import read_list, split_validation
from autocolor.imaging.images import find_photos

_EPILOG = """\
examples:
  python data_prep/build_lmdb.py --photos my_photos --out train_lmdb
  python data_prep/build_lmdb.py --photos build/data/photos/train --out build/data/train_lmdb \\
      --list data_prep/photos.tsv --validation 0.15 --validation-out build/data/validation_lmdb
  python data_prep/build_lmdb.py --photos ILSVRC2012/train --labels --out imagenet_lmdb
  python data_prep/build_lmdb.py --photos lists/cval1k.txt --out cval1k_lmdb
  python data_prep/build_lmdb.py --photos ILSVRC2012/train --out imagenet_lmdb --shards 16 \\
      --scheduler tcp://head:8786
  python data_prep/build_lmdb.py --photos my_photos --out views_lmdb --views 4 --minimum-side 128

Beside OUT go OUT.txt, the list of the photos, with --labels OUT.classes.txt, and OUT.skipped.tsv:
photos that cannot be read, and photos without any colour, are skipped and listed there.

Run again to resume, whatever has ended the last run; the result is the same to the byte. A complete
LMDB of the same photos and options is left alone. Processes, or the workers of a Dask cluster
(--scheduler), read and encode; they must see the photos under the same path. docs/data.md explains
shards, ImageNet's layout and what training needs of all this."""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if bool(arguments.validation) != bool(arguments.validation_out):
        parser.error("--validation and --validation-out go together")
    if arguments.minimum_side > arguments.side:
        parser.error("expected --minimum-side <= --side")
    if arguments.undamaged and arguments.views is None:
        parser.error("--undamaged: expected --views")
    only = arguments.only_shard
    if only is not None and not 0 <= only < arguments.shards:
        parser.error(f"--only-shard: expected 0 to {arguments.shards - 1}, got {only}")
    parts = _parts(arguments)
    # Workers take time to start, and a handful of photos is done before.
    few = max(len(part) for part in parts.values()) <= 100
    processes = 1 if few else arguments.processes
    with open_workers(processes, arguments.scheduler) as workers:
        for out, part in parts.items():
            _build(out, part, arguments, workers)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__, _EPILOG)
    defaults = LmdbOptions()
    parser.add_argument(
        "--photos",
        type=Path,
        required=True,
        help="folder of photos, searched with its subfolders, or a text file with "
        "a path a line, relative to it, and possibly a class behind it",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the LMDB, or with --shards of the LMDBs"
    )
    parser.add_argument(
        "--labels",
        action="store_true",
        help="store classes: those of the text file, or the number of the folder "
        "in PHOTOS, of those sorted by name (default: all are 0)",
    )
    parser.add_argument(
        "--keep-grey",
        action="store_true",
        help="keep photos without any colour, as a classifier wants them",
    )
    parser.add_argument(
        "--side",
        type=int,
        default=defaults.side,
        help="reduce the smaller side to at most this (default: %(default)s)",
    )
    parser.add_argument(
        "--minimum-side",
        type=at_least(1),
        default=defaults.minimum_side,
        help="enlarge photos whose smaller side is below this: Caffe's crop needs "
        "it (default: %(default)s)",
    )
    parser.add_argument(
        "--views",
        type=at_least(1),
        metavar="N",
        help="store each photo N times, its smaller side anywhere between "
        "--minimum-side and --side, often with another tone and sometimes blurred, "
        "grainy or compressed: all photos once, then all again (default: once, as "
        "it is)",
    )
    parser.add_argument("--undamaged", action="store_true", help="views differ in size alone")
    parser.add_argument("--encoding", choices=("jpeg", "png", "raw"), default=defaults.encoding)
    parser.add_argument("--quality", type=int, default=defaults.quality, help="of JPEG")
    parser.add_argument("--seed", type=int, default=0, help="of the order and of the split")
    parser.add_argument(
        "--list", type=Path, help="photo list of fetch_photos.py: photos of one group stay together"
    )
    parser.add_argument(
        "--validation",
        type=float,
        default=0.0,
        metavar="FRACTION",
        help="share of the photos for a validation LMDB",
    )
    parser.add_argument("--validation-out", type=Path, help="folder of the validation LMDB")
    parser.add_argument(
        "--processes",
        type=at_least(1),
        default=available_processors(),
        metavar="N",
        help="that read and encode (default: one a processor, here %(default)s)",
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="use the workers of this Dask scheduler instead"
    )
    parser.add_argument(
        "--shards",
        type=at_least(1),
        default=1,
        metavar="N",
        help="divide into N LMDBs, OUT/shard-00000-of-0000N and so on",
    )
    parser.add_argument(
        "--only-shard",
        type=int,
        metavar="I",
        help="write this one of them only, from 0: for a job array",
    )
    parser.add_argument("--force", action="store_true", help="replace a different LMDB")
    return parser


def _parts(arguments: argparse.Namespace) -> dict[Path, list[ListedPhoto]]:
    """Photos of each output folder, in a fixed order, not yet shuffled."""
    photos = _list_photos(arguments.photos, arguments.labels)
    parts = {arguments.out: photos}
    if arguments.validation:
        groups = _group_photos(photos, arguments.photos, arguments.list)
        for out, indices in zip(
            (arguments.out, arguments.validation_out),
            split_validation(groups, arguments.validation, arguments.seed),
            strict=True,
        ):
            parts[out] = [photos[index] for index in indices]
    for out, part in parts.items():
        if not part:
            raise ListError(f"no photos for {out} in {arguments.photos}")
    return parts


def _list_photos(source: Path, labels: bool) -> list[ListedPhoto]:
    # Absolute, because workers may run elsewhere.
    source = Path(os.path.abspath(source))
    if source.is_dir():
        paths = find_photos(source, recursive=True)
        return label_by_folder(paths, source) if labels else [ListedPhoto(p) for p in paths]
    photos = read_photo_list(source)
    if not labels:
        return [photo._replace(label=None) for photo in photos]
    for path, label in photos:
        if label is None:
            raise InputError("--labels", f"expected a class behind {path} in {source}")
    return photos


def _group_photos(
    photos: Sequence[ListedPhoto], folder: Path, photo_list: Path | None
) -> list[str]:
    """Group of each photo: that of the list, or the photo itself where it is not listed."""
    listed = {}
    if photo_list is not None:
        for entry in read_list(photo_list):
            path = Path(os.path.abspath(folder)) / entry.path.relative_to(entry.split)
            listed[path] = f"{entry.package}/{entry.group}"
    return [listed.get(photo.path, str(photo.path)) for photo in photos]


def _build(
    out: Path, photos: list[ListedPhoto], arguments: argparse.Namespace, workers: Workers
) -> None:
    """Write the LMDB of `out`, or its shards, and the lists beside it."""
    skipped: list[tuple[Path, str]] = []
    written = 0
    for folder, content in _shards(out, photos, arguments):
        if is_complete(folder, content):
            print(f"{folder}: complete already, {len(content.photos)} photos")
        else:
            if folder.exists() and any(folder.iterdir()):
                if not arguments.force:
                    raise InputError("--out", f"{folder} holds something else; --force replaces it")
            elif folder.exists():
                shutil.rmtree(folder)
            with tqdm(total=len(content.photos), desc=folder.name, unit="photo") as bar:
                write_lmdb(content, folder, bar.update, workers)
        skipped += read_skipped(folder)
        written += len(content.photos)
    # Written even if all was there: a run may have been cut off just before.
    suffix = "" if arguments.only_shard is None else f".{arguments.only_shard:05d}"
    report = out.with_name(f"{out.name}{suffix}.skipped.tsv")
    with atomic_path(report) as partial:
        lines = (f"{quote(str(path))}\t{reason}\n" for path, reason in skipped)
        partial.write_bytes("".join(lines).encode("utf-8", "surrogateescape"))
    write_photo_list(out.with_name(out.name + ".txt"), photos)
    if arguments.labels and arguments.photos.is_dir():
        with atomic_path(out.with_name(out.name + ".classes.txt")) as partial:
            partial.write_text("".join(f"{name}\n" for name in class_folders(arguments.photos)))
    print(
        f"{out}: {written - len(skipped)} photos, {len(skipped)} skipped"
        + (f" (see {report})" if skipped else "")
    )
    if len(skipped) == written:
        raise LmdbWriteError(
            f"{out}: none of its {written} photos could be used; {report} says why"
        )


def _shards(
    out: Path, photos: list[ListedPhoto], arguments: argparse.Namespace
) -> Iterator[tuple[Path, LmdbContent]]:
    """Folder and content of each LMDB to write: one after another they are the unsharded one."""
    options = LmdbOptions(
        arguments.side,
        arguments.minimum_side,
        arguments.encoding,
        arguments.quality,
        arguments.keep_grey,
    )
    if arguments.views is not None:
        damage = DamageOptions(0, 0, 0, 0) if arguments.undamaged else DamageOptions()
        options = ViewOptions(**vars(options), damage=damage, seed=arguments.seed)
    photos = shuffled_passes(photos, arguments.views or 1, arguments.seed)
    count = arguments.shards
    if count > 1 and (out / "data.mdb").exists():
        raise InputError("--out", f"expected a folder for shards, {out} holds an LMDB")
    bounds = [index * len(photos) // count for index in range(count + 1)]
    for index in range(count) if arguments.only_shard is None else [arguments.only_shard]:
        chosen = photos[bounds[index] : bounds[index + 1]]
        labels = [photo.label or 0 for photo in chosen] if arguments.labels else None
        name = f"shard-{index:05d}-of-{count:05d}"
        yield (
            out if count == 1 else out / name,
            LmdbContent([photo.path for photo in chosen], options, labels, bounds[index]),
        )


if __name__ == "__main__":
    run_program(main, resumes=True)
