"""Damage real files and see that every reader of this project refuses them or reads them."""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from autocolor.core.files import atomic_path
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.runtime.caffe_runtime import import_caffe


def until(deadline: float, inputs: Iterator[bytes]) -> Iterator[bytes]:
    """Yield inputs until a time of the monotonic clock."""
    for content in inputs:
        if time.monotonic() >= deadline:
            return
        yield content


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = command_parser(
        __doc__,
        """\
examples:
  python tools/checks/fuzz.py --list
  python tools/checks/fuzz.py --count 1000
  python tools/checks/fuzz.py --reader hdf5 --seconds 600 --keep build/fuzz
  python tools/checks/fuzz.py --guided --seconds 600 --keep build/fuzz

Inputs follow from the seed alone. Each is read in a child process, with limits on time and memory. A
fault is a crash, a hang, an error of a kind that the reader does not document, or a file left behind;
--keep saves such inputs.

--guided has atheris (pip install atheris) look for inputs that reach new lines of Python; it
ends with the first fault of a reader.

Exit status: 0, 1 if there were faults, 2 on wrong usage.""",
    )
    parser.add_argument(
        "--reader",
        action="append",
        default=[],
        metavar="NAME",
        help="one of --list; may be repeated (default: all)",
    )
    parser.add_argument(
        "--count",
        type=at_least(1),
        default=1000,
        metavar="N",
        help="inputs for each reader (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="go on for this long with each reader, instead of --count",
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the damage (default: 0)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="save inputs with faults here")
    parser.add_argument(
        "--guided", action="store_true", help="coverage-guided, for --seconds with each reader"
    )
    parser.add_argument("--list", action="store_true", help="print the readers' names")
    arguments = parser.parse_args(argv)
    if arguments.guided and not arguments.seconds:
        parser.error("--guided: expected --seconds")
    import_caffe()
    from fuzzing import mutations, try_inputs
    from readers import make_readers

    with tempfile.TemporaryDirectory(prefix="autocolor_fuzz_") as name:
        readers = make_readers(Path(name))
        if arguments.list:
            print("\n".join(readers))
            return 0
        for unknown in set(arguments.reader) - readers.keys():
            parser.error(f"--reader: expected one of {', '.join(readers)}, got {unknown!r}")
        if arguments.guided:
            return _guided(arguments.reader or list(readers), arguments)
        faults = 0
        for reader in [readers[name] for name in arguments.reader or readers]:
            results: Counter[str] = Counter()
            started = time.monotonic()
            inputs = mutations(reader, arguments.count, arguments.seed)
            if arguments.seconds:
                endless = mutations(reader, sys.maxsize, arguments.seed)
                inputs = until(started + arguments.seconds, endless)
            for outcome in tqdm(
                try_inputs(reader, inputs),
                total=None if arguments.seconds else arguments.count,
                unit="input",
                desc=reader.name,
                mininterval=1,
            ):
                if not outcome.is_fault:
                    results[outcome.result] += 1
                    continue
                results["faults"] += 1
                tqdm.write(f"{reader.name}: {outcome.result}", file=sys.stderr)
                _keep(arguments.keep, reader.name, outcome.content)
            faults += results["faults"]
            print(
                f"{reader.name}: {sum(results.values())} inputs, {results['accepted']} accepted, "
                f"{results['refused']} refused, {results['faults']} faults, "
                f"{time.monotonic() - started:.0f} s",
                flush=True,
            )
    return 1 if faults else 0


def _guided(readers: Sequence[str], arguments: argparse.Namespace) -> int:
    from guided_fuzzing import search

    faults = 0
    for reader in tqdm(readers, unit="reader"):
        result = search(reader, arguments.seconds, arguments.seed)
        said = f"{reader}: {result.inputs} inputs, reached {result.first_reach} to {result.last_reach} edges"
        tqdm.write(f"{said}, {result.fault or 'no faults'}", file=sys.stdout)
        sys.stdout.flush()
        if result.fault:
            faults += 1
            _keep(arguments.keep, reader, result.content)
    return 1 if faults else 0


def _keep(folder: Path | None, reader: str, content: bytes) -> None:
    """Save an input for the regression tests."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(content).hexdigest()[:12]
    with atomic_path(folder / f"{reader}-{digest}") as partial:
        partial.write_bytes(content)


if __name__ == "__main__":
    run_program(main)
