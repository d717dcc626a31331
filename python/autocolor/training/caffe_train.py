"""Run ``caffe train`` and follow it. Needs the ``caffe`` tool on the PATH, not pycaffe."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from autocolor.core.errors import AutocolorError
from autocolor.core.files import naming
from autocolor.core.isolation import parse_failure
from autocolor.core.progress import tqdm
from autocolor.training.log import Record, parse_log


class TrainingError(AutocolorError):
    """``caffe train`` failed."""


def run_caffe_train(
    solver: Path,
    log: Path,
    *,
    iterations: int | None = None,
    weights: Path | None = None,
    seconds: float | None = None,
    device: str = "cpu",
) -> list[Record]:
    """Train with the ``caffe`` tool and follow it.

    Parameters
    ----------
    solver : Path
        Solver prototxt.
    log : Path
        Gets everything Caffe prints.
    iterations : int, optional
        Of the solver, for a progress bar on stderr; none is shown unless given.
    weights : Path, optional
        To start from.
    seconds : float, optional
        Ask Caffe to snapshot and stop after this long.
    device : str
        ``cpu``, ``gpu`` (the first one), ``gpu:1`` or ``gpu:all``.

    Returns
    -------
    list of Record

    Raises
    ------
    TrainingError
        If Caffe exits with a failure; the message quotes its last words.
    """
    command = ["caffe", "train", f"-solver={solver}", "-sigint_effect=stop"]
    if device != "cpu":
        command.append(f"-gpu={device.partition(':')[2] or 0}")
    if weights is not None:
        command.append(f"-weights={weights}")
    started = time.monotonic()
    records: list[Record] = []
    last_lines: list[str] = []
    log.parent.mkdir(parents=True, exist_ok=True)
    with naming(log), log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # The log is what is followed, so it must be complete.
            env={**os.environ, "GLOG_minloglevel": "0", "GLOG_logtostderr": "1"},
        )

        def follow() -> Iterator[str]:
            asked_to_stop = False
            for line in process.stdout or ():
                stream.write(line)
                last_lines[:] = [*last_lines[-20:], line.strip()]
                over = seconds is not None and time.monotonic() - started > seconds
                if over and not asked_to_stop:
                    process.send_signal(signal.SIGINT)
                    asked_to_stop = True
                yield line

        bar = tqdm(
            total=iterations, unit="iteration", desc="caffe train", disable=iterations is None
        )
        try:
            for record in parse_log(follow()):
                records.append(record)
                bar.update(record.iteration - bar.n)
                bar.set_postfix({f"{record.phase} loss": f"{record.loss:.3f}"})
            status = process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)  # snapshot and stop
            process.wait()
            raise
        finally:
            bar.close()
    if status:
        failure = parse_failure(status, "", "\n".join(last_lines))
        assert failure is not None
        raise TrainingError(f"caffe train failed: {failure.reason} ({log})")
    return records


def best_snapshot(folder: Path, records: Sequence[Record]) -> Path:
    """Snapshot with the lowest validation loss, or the last one if none was validated.

    Raises
    ------
    TrainingError
        If there is none.
    """
    snapshots = {int(path.stem.rsplit("_", 1)[1]): path for path in folder.glob("*.caffemodel")}
    tested = {
        r.iteration: r.loss for r in records if r.phase == "test" and r.iteration in snapshots
    }
    if not snapshots:
        raise TrainingError(f"{folder}: caffe train left no snapshot")
    return snapshots[min(tested, key=tested.__getitem__) if tested else max(snapshots)]
