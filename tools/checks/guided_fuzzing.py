"""Look for inputs that reach new code, with atheris: ``python guided_fuzzing.py …``.

atheris is libFuzzer for Python: it keeps inputs that reach lines of ours, or of Pillow's and ONNX's
Python code, that none has reached before, and goes on from them. What is compiled (libjpeg, HDF5,
Caffe) does not guide it.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autocolor.core.errors import AutocolorError
from autocolor.core.programs import run_program

_INSTRUMENTED = ["autocolor", "PIL", "onnx"]
_LONGEST_READ = 30  # seconds
_MEMORY = 3 * 1024  # MiB
_STARTING = 120  # seconds that imports, instrumentation and the seeds may take
_STATUS = re.compile(r"^#(\d+)\s+\w+\s+cov: (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Search:
    """What came of one reader's fuzzing."""

    inputs: int  #: How many were read
    #: Pieces of code (edges of the control flow) that the seeds reach, and that all inputs reach
    first_reach: int
    last_reach: int
    fault: str | None = None  #: What the reader did that it must not do; the fuzzing ends with it
    content: bytes = b""  #: The input with that fault


def search(reader: str, seconds: float, seed: int = 0) -> Search:
    """Fuzz a reader of :mod:`readers` in a process of its own, for so many seconds from its start.

    The same seed does not give the same inputs on another machine.
    """
    if importlib.util.find_spec("atheris") is None:
        raise AutocolorError("atheris is not installed; install it with: pip install atheris")
    with tempfile.TemporaryDirectory(prefix="autocolor_guided_") as name:
        folder = Path(name)
        command = [
            sys.executable,
            __file__,
            reader,
            str(folder / "corpus"),
            f"-max_total_time={max(1, round(seconds))}",
            f"-seed={seed + 1}",
            f"-timeout={_LONGEST_READ}",
            f"-rss_limit_mb={_MEMORY}",
            "-print_final_stats=1",
            f"-artifact_prefix={folder}/fault-",
        ]
        (folder / "corpus").mkdir()
        with (folder / "log").open("w+b") as log:
            process = subprocess.run(
                command,
                stdout=log,
                stderr=log,
                check=False,
                timeout=seconds + _STARTING + _LONGEST_READ,
            )
        said = (folder / "log").read_text(encoding="utf-8", errors="replace")
        steps = [(int(inputs), int(reach)) for inputs, reach in _STATUS.findall(said)]
        if not steps:
            raise AutocolorError(f"{reader}: fuzzing does not start: {said[-300:]}")
        (_, first), (inputs, last) = steps[0], steps[-1]
        if process.returncode == 0:  # inputs that took long, but not too long, may be there
            return Search(inputs, first, last)
        faults = sorted(folder.glob("fault-*"))
        reasons = re.findall(r"^(?:AssertionError|ERROR|==\d+== ?ERROR): (.*)", said, re.MULTILINE)
        reason = reasons[0] if reasons else f"exit status {process.returncode}"
        content = faults[0].read_bytes() if faults else b""
        if "timeout" in reason and not _is_fault(reader, content, folder):
            # Other work has kept the machine busy for that long.
            return Search(inputs, first, last)
        return Search(inputs, first, last, reason, content)


def _is_fault(reader: str, content: bytes, folder: Path) -> bool:
    """Read an input again, alone."""
    from fuzzing import try_inputs
    from readers import make_readers

    (outcome,) = try_inputs(make_readers(folder)[reader], iter([content]))
    return outcome.is_fault


def main(arguments: Sequence[str]) -> int:
    """Fuzz a reader; libFuzzer ends the process. Arguments: READER CORPUS LIBFUZZER_OPTION..."""
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        from fuzzing import ACCEPTED, REFUSED, read_once
        from readers import make_readers
    name, corpus, *options = arguments
    # libFuzzer ends the process without cleaning up; who started it removes the folder of the corpus.
    folder = Path(corpus).resolve().parent
    (folder / "beside").mkdir()
    reader = make_readers(folder / "beside")[name]
    path = folder / "input" / reader.file_name
    path.parent.mkdir()
    for index, seed in enumerate(reader.seeds):
        (Path(corpus) / f"seed{index}").write_bytes(seed)

    def read(content: bytes) -> None:
        path.write_bytes(content)
        result = read_once(reader, path)
        left = sorted(item.name for item in path.parent.iterdir() if item != path)
        if result not in (ACCEPTED, REFUSED) or left:
            raise AssertionError(result if not left else f"left {', '.join(left)}")

    atheris.Setup([name, *options, corpus], read)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    run_program(lambda: main(sys.argv[1:]))
