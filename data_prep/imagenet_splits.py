"""Split ImageNet's validation photos into cval1k and ctest10k, as the paper does."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from autocolor.core.constants import CTEST_IMAGES, CVAL_IMAGES
from autocolor.core.files import file_sha256
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.data.imagenet import PUBLISHED_SHA256, validation_photos
from autocolor.data.photo_lists import ListedPhoto, ListError
from autocolor.data.splits import (
    SplitError,
    UsablePhotos,
    balanced_splits,
    find_listed,
    write_splits,
)

_EPILOG = """\
examples:
  python data_prep/imagenet_splits.py --images ILSVRC2012/val --out lists \\
      --published cval1k.txt ctest10k.txt
  python data_prep/imagenet_splits.py --images ILSVRC2012/val --out lists --seed 0
  python data_prep/imagenet_splits.py --images val_flat --labels val.txt --out lists
  python data_prep/imagenet_splits.py --images val_flat --out lists --synsets meta.mat \\
      --labels ILSVRC2012_validation_ground_truth.txt

With --published, the photos of those lists are looked up in your copy, in whatever layout. Otherwise
the lists are chosen by the seed: equally many photos of every class, none encoded as greyscale (grey
photos stored with three channels stay in, as in the paper), none that cannot be read, none in both.

Writes OUT/cval1k.txt and OUT/ctest10k.txt ("path class" a line, relative to OUT), which
tools/evaluate.py and data_prep/build_lmdb.py read; OUT/imagenet.json with the seed and the lists'
hashes; OUT/imagenet.left_out.tsv. The same seed gives the same lists on every machine: compare
names_sha256."""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(__doc__, _EPILOG)
    parser.add_argument(
        "--images",
        type=Path,
        required=True,
        help="the validation photos: a folder a synset, or all in one",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the lists")
    parser.add_argument(
        "--labels",
        type=Path,
        help="classes of photos that are not in folders: val.txt, "
        "ILSVRC2012_validation_ground_truth.txt or LOC_val_solution.csv",
    )
    parser.add_argument(
        "--synsets",
        type=Path,
        help="order of the ground truth's numbers: the development kit's meta.mat, "
        "or a text file with a synset a line (default: classes are the numbers "
        "less 1)",
    )
    parser.add_argument(
        "--published",
        type=Path,
        nargs=2,
        metavar=("CVAL", "CTEST"),
        help="take these lists instead of choosing",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice (default: %(default)s)")
    parser.add_argument(
        "--cval-images",
        type=at_least(1),
        default=CVAL_IMAGES,
        metavar="N",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--ctest-images",
        type=at_least(1),
        default=CTEST_IMAGES,
        metavar="N",
        help="default: %(default)s",
    )
    arguments = parser.parse_args(argv)
    sizes = {"cval1k": arguments.cval_images, "ctest10k": arguments.ctest_images}
    root = Path(os.path.abspath(arguments.images))
    photos = validation_photos(root, arguments.labels, arguments.synsets)
    facts: dict[str, object]
    if arguments.published:
        splits = _published(dict(zip(sizes, arguments.published, strict=True)), root, photos)
        facts = {"published": {str(path): _origin(path) for path in arguments.published}}
        left_out = []
    else:
        if any(photo.label is None for photo in photos):
            raise ListError(f"{root}: expected a folder a synset, or --labels")
        with tqdm(total=sum(sizes.values()), unit="photo") as bar:
            usable = UsablePhotos(bar.update)
            splits = balanced_splits(photos, sizes, arguments.seed, usable)
        facts, left_out = {"seed": arguments.seed}, usable.left_out
    record = write_splits(arguments.out, "imagenet", splits, left_out, **facts)
    for name, chosen in splits.items():
        counts = Counter(Counter(photo.label for photo in chosen).values())
        balance = ", ".join(f"{classes} with {count}" for count, classes in sorted(counts.items()))
        print(f"{arguments.out / name}.txt: {len(chosen)} photos; classes by photos: {balance}")
    for path, origin in dict(record.get("published") or {}).items():  # type: ignore[call-overload]
        print(f"{path}: {origin['is']}, sha256 {origin['sha256']}")
    if left_out:
        print(f"{len(left_out)} left out (see {arguments.out / 'imagenet.left_out.tsv'})")
    return 0


def _published(
    lists: dict[str, Path], root: Path, photos: Sequence[ListedPhoto]
) -> dict[str, list[ListedPhoto]]:
    """Read the lists; refuses those that overlap, or contradict the classes of the photos here."""
    labels = dict(photos)
    found = {name: find_listed(path, root, list(labels)) for name, path in lists.items()}
    for name, path in lists.items():
        for photo, label in found[name]:
            if None not in (label, labels[photo]) and label != labels[photo]:
                raise SplitError(
                    f"{path}: {photo.name} has class {label} there and "
                    f"{labels[photo]} below {root}: is a folder missing?"
                )
    cval, ctest = ({photo.path for photo in listed} for listed in found.values())
    if cval & ctest:
        raise SplitError(
            f"{len(cval & ctest)} photos are in both lists, such as {min(cval & ctest)}"
        )
    return found


def _origin(path: Path) -> dict[str, str]:
    digest = file_sha256(path)
    known = {sha256: name for name, sha256 in PUBLISHED_SHA256.items()}
    name = known.get(digest)
    return {"sha256": digest, "is": f"the authors' {name}" if name else "a list of unknown origin"}


if __name__ == "__main__":
    run_program(main)
