"""Measure data_prep/build_lmdb.py on generated JPEGs, and kill it while it works.

Prints images a second of a plain loop in one process and of the tool, and their ratio; then kills
the tool at random moments, lets it finish, and compares the result with both. Processor time is
printed as well: on a machine that does other work, it says more than the clock.
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import lmdb
import numpy as np
import skimage.data
from PIL import Image
from tqdm import tqdm

from autocolor.core.processes import available_processors
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.data.lmdb_io import LmdbOptions, make_datum
from autocolor.data.photo_lists import label_by_folder
from autocolor.imaging.images import ImageError, find_photos

ROOT = Path(__file__).resolve().parents[2]
SIZE = (500, 375)  # what most photos of ImageNet have
CLASSES = 10
BROKEN_EVERY = 97


def generate(folder: Path, count: int) -> list[Path]:
    """Write JPEGs of random parts of real photos in folders of classes; returns the broken ones."""
    rng = np.random.default_rng(0)
    names = ("astronaut", "coffee", "chelsea", "rocket")
    sources = [Image.fromarray(getattr(skimage.data, name)()) for name in names]
    broken: list[Path] = []
    for index in tqdm(range(count), desc="generating", unit="image"):
        source = sources[rng.integers(len(sources))]
        width, height = (int(side * rng.uniform(0.5, 1)) for side in source.size)
        left = int(rng.integers(source.width - width + 1))
        top = int(rng.integers(source.height - height + 1))
        path = folder / f"n{index % CLASSES:08d}" / f"{index:06d}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = source.crop((left, top, left + width, top + height))
        part.resize(SIZE, Image.Resampling.BICUBIC).save(path, quality=90)
        if index % BROKEN_EVERY == BROKEN_EVERY - 1:
            content = path.read_bytes()
            path.write_bytes((b"", b"no image", content[: len(content) // 2])[len(broken) % 3])
            broken.append(path)
    return broken


def plain_loop(photos: Path, out: Path) -> dict[bytes, bytes]:
    """Do it in the obvious way; returns the digest of every record."""
    options, digests = LmdbOptions(), {}
    listed = label_by_folder(find_photos(photos, recursive=True), photos)
    order = np.random.default_rng(0).permutation(len(listed))
    with lmdb.open(str(out), map_size=2**40) as environment:
        for start in tqdm(range(0, len(order), 100), desc="plain loop", unit="hundred"):
            with environment.begin(write=True) as transaction:
                for position in range(start, min(start + 100, len(order))):
                    path, label = listed[order[position]]
                    try:
                        datum = make_datum(options.prepare(path), options, label or 0)
                    except ImageError:
                        continue
                    key, value = f"{position:08d}_{path.name}".encode(), datum.SerializeToString()
                    transaction.put(key, value)
                    digests[key] = hashlib.sha256(value).digest()
    return digests


def read_digests(path: Path) -> dict[bytes, bytes]:
    """Return the digest of every record of an LMDB."""
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as txn:
        return {key: hashlib.sha256(value).digest() for key, value in txn.cursor()}


def count_records(path: Path) -> int:
    """Return the number of records; 0 if there is no LMDB yet."""
    if not (path / "data.mdb").exists() or not (path / "data.mdb").stat().st_size:
        return 0
    with lmdb.open(str(path), readonly=True, lock=False) as environment:
        return int(environment.stat()["entries"])


def processor_time(who: int) -> float:
    """Return the seconds that this process, or all that it has waited for, have computed."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__, "example:\n  python tools/bench/lmdb_building.py --images 20000"
    )
    parser.add_argument("--images", type=at_least(1), default=2000, help="default: %(default)s")
    parser.add_argument(
        "--processes",
        type=at_least(1),
        default=available_processors(),
        help="default: one a processor, here %(default)s",
    )
    parser.add_argument("--kills", type=at_least(0), default=5, help="default: %(default)s")
    parser.add_argument("--folder", type=Path, help="for the images (default: a temporary one)")
    arguments = parser.parse_args(argv)
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        return measure(Path(name), arguments.images, arguments.processes, arguments.kills)


def measure(folder: Path, images: int, processes: int, kills: int) -> int:
    """Print all numbers; returns 1 if a comparison fails."""
    photos = folder / "photos"
    broken = generate(photos, images)
    used = processor_time(resource.RUSAGE_SELF)
    started = time.perf_counter()
    plain = plain_loop(photos, folder / "plain")
    seconds = time.perf_counter() - started
    print(
        f"plain loop: {images / seconds:.1f} images/s ({images} in {seconds:.1f} s, "
        f"{processor_time(resource.RUSAGE_SELF) - used:.1f} s of processor time)",
        flush=True,
    )

    def command(out: str) -> list[str]:
        return [
            sys.executable,
            str(ROOT / "data_prep/build_lmdb.py"),
            "--photos",
            str(photos),
            "--labels",
            "--processes",
            str(processes),
            "--out",
            str(folder / out),
        ]

    started = time.perf_counter()
    subprocess.run(command("whole"), check=True, stdout=subprocess.DEVNULL)
    whole = time.perf_counter() - started
    print(
        f"build_lmdb.py, {processes} processes: {images / whole:.1f} images/s ({whole:.1f} s, "
        f"{processor_time(resource.RUSAGE_CHILDREN):.1f} s of processor time, starting included)\n"
        f"ratio: {seconds / whole:.2f}",
        flush=True,
    )

    rng = np.random.default_rng()
    killed = 0
    for number in range(kills):
        before = count_records(folder / "killed.part")
        process = subprocess.Popen(
            command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # Every other kill may come while the tool starts; the rest after it has gone on a little.
        while number % 2 and process.poll() is None:
            if count_records(folder / "killed.part") > before:
                break
            time.sleep(0.01)
        try:
            process.wait(rng.uniform(0, whole / kills))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
            after = count_records(folder / "killed.part")
            print(f"killed with {before} records stored before and {after} now", flush=True)
    subprocess.run(command("killed"), check=True, stdout=subprocess.DEVNULL)

    listed = [
        line.split("\t")[0] for line in (folder / "killed.skipped.tsv").read_text().splitlines()
    ]
    checks = {
        "records equal those of the plain loop": read_digests(folder / "whole") == plain,
        f"after {killed} kills the records are the same": read_digests(folder / "killed") == plain,
        "and data.mdb is the same to the byte": _file_digest(folder / "killed")
        == _file_digest(folder / "whole"),
        f"the {len(broken)} broken images are listed, each once": sorted(listed)
        == sorted(map(str, broken)),
    }
    for check, holds in checks.items():
        print(f"{check}: {'yes' if holds else 'NO'}")
    return 0 if all(checks.values()) else 1


def _file_digest(path: Path) -> str:
    with (path / "data.mdb").open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    run_program(main)
