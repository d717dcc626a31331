"""Experiments that provoke faults, and the table of what came of them. Needs pycaffe."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import skimage.data
from PIL import Image

from autocolor.core.errors import AutocolorError
from autocolor.data.lmdb_io import LmdbOptions, make_datum
from autocolor.imaging.images import write_image
from autocolor.nets.catalogue import all_models, write_files
from autocolor.nets.weights_io import read_weights
from autocolor.runtime.model_folder import Manifest
from fuzzing import mutations, try_inputs
from guided_fuzzing import search
from readers import make_readers

_ROOT = Path(__file__).resolve().parents[2]
_MODEL = "hue_chroma_data-fc7_slim"
_CROP, _PHOTOS, _ITERATIONS, _SNAPSHOT = 32, 10, 24, 5
_SLOPE = 2000  # bytes a photo or a step that memory may grow by, which is noise of the allocator
_DISPLAY = 20  # steps a line of the log, as the models have it
_SLOWDOWN = 1.2  # other work on the machine costs caches
_PATIENCE = 600  # seconds for any command
# One thread: the moments at which processes are killed then spread over all that they do.
_ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Result:
    """What came of an experiment: a row of docs/reliability.md."""

    fault: str
    times: str
    outcome: str
    command: str
    is_good: bool


class NotTriedError(AutocolorError):
    """What an experiment needs does not work; one line."""


@dataclass(frozen=True)
class Experiment:
    """A fault, and how to provoke it in a folder: (folder, times, seed) to times, outcome, success."""

    fault: str
    provoke: Callable[[Path, int, int], tuple[str, str, bool]]


def run(name: str, times: int, seed: int) -> Result:
    """Run one of `EXPERIMENTS` in a folder of its own."""
    experiment = EXPERIMENTS[name]
    with tempfile.TemporaryDirectory(prefix="autocolor_reliability_") as folder:
        try:
            count, outcome, is_good = experiment.provoke(Path(folder), times, seed)
        except NotTriedError as error:
            count, outcome, is_good = "0", str(error), False
    command = f"python tools/checks/reliability.py --only {name} --times {times} --seed {seed}"
    return Result(experiment.fault, count, outcome, command, is_good)


def read_results(path: Path) -> dict[str, Result]:
    """Read the results of earlier runs; none where there is no such file."""
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return {name: Result(**row) for name, row in content.items()}


def results_page(results: Mapping[str, Result]) -> str:
    """Return the Markdown page with a row for every experiment that was run."""
    lines = [
        "# Reliability",
        "",
        "Faults that were provoked, and what came of them. `tools/checks/reliability.py --page` writes this",
        "page from its runs; nothing here is written by hand.",
        "",
        "| fault | times | outcome | command |",
        "|---|---|---|---|",
    ]
    for name in EXPERIMENTS:
        if name in results:
            row = results[name]
            outcome = row.outcome if row.is_good else f"**not as wanted:** {row.outcome}"
            lines.append(f"| {row.fault} | {row.times} | {outcome} | `{row.command}` |")
    return "\n".join(lines) + "\n"


# ---- training


def write_training(
    folder: Path, out: Path, seed: int = 1, batch: int = 3, crop: int = _CROP, **solver: Any
) -> Path:
    """Write an LMDB of photos into `folder`, and the nets and the solver of the slim model into `out`."""
    source = folder / "lmdb"
    if not source.exists():
        astronaut = Image.fromarray(skimage.data.astronaut())
        with lmdb.open(str(source), map_size=2**26) as file, file.begin(write=True) as records:
            for index in range(_PHOTOS):
                photo = astronaut.crop((40 * index, 20 * index, 40 * index + 96, 20 * index + 96))
                datum = make_datum(photo, LmdbOptions())
                records.put(b"%08d" % index, datum.SerializeToString())
    model = all_models()[_MODEL]
    model = replace(
        model,
        training=replace(model.training, source=str(source), batch=batch, crop=crop, locations=16),
        validation_source=str(source),
        solver=replace(
            model.solver,
            train_net=f"{out}/train.prototxt",
            test_net=f"{out}/test.prototxt",
            snapshot_prefix=f"{out}/s",
            iterations=_ITERATIONS,
            test_iterations=2,
            test_interval=7,
            snapshot_interval=_SNAPSHOT,
            display_interval=1,
            seed=seed,
        ),
    )
    model = replace(model, solver=replace(model.solver, **solver))
    write_files(out, model.files())
    return out / "solver.prototxt"


def _train(solver: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(_ROOT / "tools/train.py"), "--solver", str(solver), *arguments]


def _finish(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        command,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=_ENVIRONMENT,
        timeout=_PATIENCE,
        **options,
    )


def _trained(folder: Path, out: Path) -> None:
    """Run a training that must end well."""
    process = _finish(_train(write_training(folder, out)))
    if process.returncode:
        raise NotTriedError(f"the training itself fails: {process.stderr[-200:]}")


def _at_once(*commands: list[str]) -> list[int]:
    """Run commands at the same time; return their statuses."""
    quiet = subprocess.DEVNULL
    processes = [
        subprocess.Popen(command, env=_ENVIRONMENT, stdout=quiet, stderr=quiet)
        for command in commands
    ]
    return [process.wait(_PATIENCE) for process in processes]


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or [""])[-1]


@contextlib.contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Yield a file system of a size in bytes; needs root."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise NotTriedError(f"could not be tried: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=False)


def _last_weights(out: Path) -> dict[str, tuple[np.ndarray, ...]]:
    return read_weights(out / f"s_iter_{_ITERATIONS}.caffemodel")


def _same(
    one: Mapping[str, tuple[np.ndarray, ...]], two: Mapping[str, tuple[np.ndarray, ...]]
) -> bool:
    return one.keys() == two.keys() and all(
        np.array_equal(a, b) for name in one for a, b in zip(one[name], two[name], strict=True)
    )


def _kill(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    """Kill a training at random moments, resume until it ends, and compare the parameters."""
    whole = folder / "whole"
    started = time.monotonic()
    _trained(folder, whole)
    duration = time.monotonic() - started
    wanted = _last_weights(whole)
    generator = np.random.default_rng(seed)
    kills = trainings = equal = passed_over = 0
    failure = ""
    while kills < times and not failure:
        out = folder / f"killed{trainings}"
        solver = write_training(folder, out)
        trainings += 1
        while True:
            with (folder / "stderr").open("w+") as said:
                process = subprocess.Popen(
                    _train(solver, "--resume"),
                    env=_ENVIRONMENT,
                    stderr=said,
                    stdout=subprocess.DEVNULL,
                )
                try:
                    limit = generator.uniform(0.1, 1) * duration if kills < times else _PATIENCE
                    process.wait(limit)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    kills += 1
                said.seek(0)
                text = said.read()
            passed_over += "passing over" in text
            if process.returncode >= 0:
                break
        if process.returncode:
            failure = f"; not resumed: {_last_line(text)}"
        elif _same(_last_weights(out), wanted):
            equal += 1
        shutil.rmtree(out)
    outcome = (
        f"{equal} of {trainings} trainings that were killed and resumed end with the parameters of an "
        f"uninterrupted one, bit for bit; {passed_over} times an incomplete snapshot was passed over"
        f"{failure}"
    )
    return f"{kills} kills", outcome, equal == trainings and not failure


def _cut_snapshot(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    """Cut the newest snapshot at random bytes, as a kill while it is written would."""
    from autocolor.training.snapshots import SnapshotError, read_state

    out = folder / "t"
    _trained(folder, out)
    generator = np.random.default_rng(seed)
    refused = 0
    state = out / f"s_iter_{_ITERATIONS}.solverstate"
    for index in range(times):
        path = state if index % 2 else state.with_suffix(".caffemodel")
        content = path.read_bytes()
        path.write_bytes(content[: int(generator.integers(len(content)))])
        try:
            read_state(state)
            # Cut between two layers, a file still is a message: Caffe's own process tells.
            from autocolor.training.solver_files import probe

            refused += probe(out / "solver.prototxt", state) is not None
        except SnapshotError:
            refused += 1
        path.write_bytes(content)
    return f"{times} cuts", f"{refused} of {times} recognised as incomplete", refused == times


def _deterministic(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    digests = set()
    runs = max(2, min(times, 3))
    for index in range(runs):
        out = folder / str(index)
        _trained(folder, out)
        digests.add((out / f"s_iter_{_ITERATIONS}.caffemodel").read_bytes())
    outcome = f"{len(digests)} different caffemodel file{'s' * (len(digests) > 1)}, byte for byte"
    return f"{runs} trainings", outcome, len(digests) == 1


def _diverge(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    """A learning rate that explodes once there are snapshots: the policy multiplies it by 1e30."""
    out = folder / "t"
    solver = write_training(folder, out)
    text = solver.read_text(encoding="utf-8")
    text = re.sub(r"lr_policy:.*\n|power:.*\n", "", text)
    solver.write_text(
        text + 'lr_policy: "multistep"\nstepvalue: 12\ngamma: 1e30\n', encoding="utf-8"
    )
    process = _finish(_train(solver))
    last = _last_line(process.stderr)
    snapshots = sorted(path.name for path in out.glob("s_iter_*.caffemodel"))
    finite = all(
        np.isfinite(blob).all()
        for name in snapshots
        for blobs in read_weights(out / name).values()
        for blob in blobs
    )
    good = process.returncode == 1 and "diverged" in last and finite and len(snapshots) == 2
    said = last.replace(str(out), "OUT").replace("|", "/")
    outcome = f"status {process.returncode}, {said!r}; finite snapshots kept: {len(snapshots)}"
    return "1", outcome, good


def _full_disk(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    """Train onto a small file system that holds one snapshot and not two; needs root."""
    from autocolor.training.snapshots import find_states, read_state

    probe = folder / "probe"
    _trained(folder, probe)
    size = sum(path.stat().st_size for path in probe.glob(f"s_iter_{_SNAPSHOT}.*"))
    with _small_disk(folder, size * 5 // 2) as disk:
        process = _finish(_train(write_training(folder, disk / "t")))
        last = _last_line(process.stderr).replace(str(disk), "DISK")
        states = sorted(path.name for path in (disk / "t").glob("*.solverstate"))
        kept = read_state(find_states(f"{disk}/t/s")[0]).iteration
    good = process.returncode == 1 and kept > 0 and "Traceback" not in process.stderr
    outcome = f"status {process.returncode}, {last!r}; complete: {', '.join(states)}"
    return "1", outcome, good


def _two_trainings(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    """Two processes train from one LMDB at once; each must end as it does alone."""
    alone = folder / "alone"
    _trained(folder, alone)
    statuses = _at_once(
        *(_train(write_training(folder, folder / str(index))) for index in range(2))
    )
    equal = statuses == [0, 0] and all(
        _same(_last_weights(folder / str(index)), _last_weights(alone)) for index in range(2)
    )
    outcome = "both end with the parameters of one alone" if equal else f"statuses {statuses}"
    return "2 at once", outcome, equal


# ---- data


def _full_disk_for_lmdb(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    """Build an LMDB on a file system of half its size, then on a larger one; needs root."""
    _write_photos(folder / "photos", 300)

    def build(out: Path) -> subprocess.CompletedProcess[str]:
        tool = str(_ROOT / "data_prep/build_lmdb.py")
        places = ["--photos", str(folder / "photos"), "--out", str(out)]
        return _finish([sys.executable, tool, *places, "--side", "96", "--minimum-side", "64"])

    build(folder / "whole")
    wanted = (folder / "whole" / "data.mdb").read_bytes()
    with _small_disk(folder, len(wanted) // 2) as disk:
        refused = build(disk / "lmdb")
        last = _last_line(refused.stderr).replace(str(disk), "DISK")
        subprocess.run(["mount", "-o", f"remount,size={3 * len(wanted)}", disk], check=True)
        build(disk / "lmdb")
        same = (disk / "lmdb" / "data.mdb").read_bytes() == wanted
    end = "is" if same else "is not"
    outcome = (
        f"status {refused.returncode}, {last!r}; with more space, the next run goes on from there and "
        f"the LMDB {end} that of an undisturbed run, byte for byte"
    )
    return "1", outcome, same and refused.returncode == 1


def _damaged_lmdb(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    """Train from LMDBs with damaged pages and records; each must end with one line of ours."""
    generator = np.random.default_rng(seed)
    trained = named = 0
    faults: list[str] = []
    for index in range(times):
        own = folder / str(index)
        own.mkdir()
        solver = write_training(own, own / "t", iterations=_SNAPSHOT)
        data = own / "lmdb" / "data.mdb"
        content = bytearray(data.read_bytes())
        for place in generator.integers(len(content), size=int(generator.integers(1, 200))):
            content[place] = generator.integers(256)
        if index % 2:  # where the damage does most
            place = int(generator.integers(len(content) // 4096)) * 4096 + int(
                generator.integers(24)
            )
            content[place : place + 2] = b"\xff\xff"
        data.write_bytes(content)
        process = _finish(_train(solver))
        last = _last_line(process.stderr)
        is_named = process.returncode == 1 and last.startswith("train: error: ")
        trained += process.returncode == 0
        named += is_named
        if process.returncode and not is_named:
            faults.append(f"status {process.returncode}, {last!r}")
        shutil.rmtree(own)
    outcome = (
        f"{named} trainings end with one line that names the damage, {trained} with a model (pixels are "
        f"damaged, or nothing that is read); {len(faults)} otherwise {'; '.join(faults[:3])}"
    ).strip()
    return f"{times} LMDBs", outcome, not faults


# ---- set-up


def _two_setups(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    """Set one clone up twice at once; what is built must work."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(_ROOT), str(clone)], check=True)
    processes = [
        subprocess.Popen(
            ["bash", "tools/setup.sh"],
            cwd=clone,
            env=_ENVIRONMENT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=6 * _PATIENCE)[0] for process in processes]
    statuses = [process.returncode for process in processes]
    waited = sum("another set-up is running; waiting for it" in text for text in said)
    checked = _finish(
        [
            "bash",
            "-c",
            "source build/env.sh && caffe --version && "
            "python -c 'import caffe; assert \"ColorHistogram\" in caffe.layer_type_list()'",
        ],
        cwd=clone,
    )
    outcome = (
        f"statuses {statuses}; {waited} waited for the other; caffe and its layers "
        f"{'work' if checked.returncode == 0 else 'do not work: ' + checked.stderr[-200:]}"
    )
    return "2 at once", outcome, statuses == [0, 0] and waited >= 1 and checked.returncode == 0


# ---- colorizing


def _write_model(folder: Path) -> Path:
    """Write the slim model with random weights."""
    from autocolor.runtime.caffe_runtime import import_caffe

    caffe = import_caffe()
    network = all_models()[_MODEL].network
    manifest = Manifest("slim", working_side=64, maximum_side=128)
    write_files(folder, {manifest.deploy: all_models()[_MODEL].files()["deploy.prototxt"]})
    net = caffe.Net(str(folder / manifest.deploy), caffe.TEST)
    generator = np.random.default_rng(0)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = generator.normal(scale=0.05, size=blob.data.shape)
    net.save(str(folder / manifest.weights))
    replace(manifest, levels=getattr(network, "levels", "")).save(folder)
    return folder


def _write_photos(folder: Path, count: int) -> None:
    """Write photos of many sizes, upright and wide, as JPEG and PNG."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    astronaut = skimage.data.astronaut().astype(np.float32) / 255
    for index in range(count):
        height, width = generator.integers(40, 320, 2)
        y, x = generator.integers(0, 512 - height), generator.integers(0, 512 - width)
        name = f"{index:05d}.{'png' if index % 2 else 'jpg'}"
        write_image(folder / name, astronaut[y : y + height, x : x + width])


def _two_colorizers(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    """Two colorizers of one folder into one folder; the results must be those of one alone."""
    model = _write_model(folder / "model")
    _write_photos(folder / "photos", 20)
    command = [sys.executable, "-m", "autocolor.cli", str(folder / "photos"), "--model", str(model)]
    _finish([*command, "-o", str(folder / "alone")])
    both = [*command, "-o", str(folder / "both")]
    statuses = _at_once(both, both)
    contents = [
        {path.name: path.read_bytes() for path in (folder / name).iterdir()}
        for name in ("alone", "both")
    ]
    same = statuses == [0, 0] and contents[0] == contents[1] and len(contents[0]) == 20
    outcome = (
        "20 files, those of one alone, and no partial ones" if same else f"statuses {statuses}"
    )
    return "2 at once", outcome, same


# ---- long runs


def _watch(
    command: list[str], count: Callable[[], int], total: int, unit: str
) -> tuple[str, str, bool]:
    """Run a command until it ends; returns what it did, its memory, open files and speed.

    Its processes are looked at from outside, whenever `count` has grown by a fiftieth of `total`. The first
    two fifths are a warm-up: caches fill, and the allocator finds its size.
    """
    every = max(1, total // 50)
    rows: list[tuple[float, ...]] = []
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env=_ENVIRONMENT, stdout=said, stderr=said)
        while process.poll() is None:
            done = count()
            if done < total and done - (rows[-1][0] if rows else 0) >= every:
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    rows.append((done, *_usage(process.pid), time.monotonic()))
            time.sleep(0.02)
        said.seek(0)
        last = _last_line(said.read())
    if process.returncode or count() != total or len(rows) < 20:
        return f"{count()} {unit}s", f"status {process.returncode}, {last!r}", False
    rows = rows[2 * len(rows) // 5 :]
    counts, sizes, files, busy, times = (
        np.array(column, float) for column in zip(*rows, strict=True)
    )
    slope = np.polyfit(counts, sizes, 1)[0]
    third = len(rows) // 3

    def slowdown(clock: np.ndarray) -> float:
        # The medians: other work on the machine makes single periods slow.
        speeds = np.diff(clock) / np.diff(counts)
        return float(np.median(speeds[-third:]) / np.median(speeds[:third]))

    outcome = (
        f"memory {sizes[0] / 2**20:.0f} to {sizes[-1] / 2**20:.0f} MiB, slope {slope:+.0f} bytes "
        f"a {unit}; open files {files.min():.0f} to {files.max():.0f}, {files[-1]:.0f} at the end; a "
        f"{unit} of the last third takes {slowdown(busy):.2f} times the processor time of the first "
        f"({slowdown(times):.2f} times the time, on a machine with other work)"
    )
    flat = slope < _SLOPE and files[-third:].max() <= files[:third].max()
    return f"{total} {unit}s in one process", outcome, bool(flat and slowdown(busy) < _SLOWDOWN)


def _usage(process: int) -> tuple[float, float, float]:
    """Return memory in bytes, open files and processor seconds of a process and its children."""
    own = Path(f"/proc/{process}")
    memory = int((own / "statm").read_text().split()[1]) * resource.getpagesize()
    fields = (own / "stat").read_text().rpartition(")")[2].split()
    seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    usage = (float(memory), float(len(list((own / "fd").iterdir()))), seconds)
    for child in (own / "task" / str(process) / "children").read_text().split():
        more = _usage(int(child))
        usage = (usage[0] + more[0], usage[1] + more[1], usage[2] + more[2])
    return usage


def _long_colorizing(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    """Have `autocolor` colorize a folder of 40 photos for each of the times."""
    total = 40 * times
    model = _write_model(folder / "model")
    _write_photos(folder / "photos", total)
    out = folder / "out"
    command = [sys.executable, "-m", "autocolor.cli", str(folder / "photos"), "--model", str(model)]
    return _watch([*command, "-o", f"{out}/"], lambda: len(list(out.glob("*.png"))), total, "photo")


def _long_training(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    """Have `tools/train.py` make 100 steps for each of the times, with tests and snapshots."""
    total = 100 * times
    every = max(1, total // 5)
    # Long enough for the import of what draws the plot, after a minute, to be in the warm-up.
    solver = write_training(
        folder,
        folder / "t",
        batch=6,
        crop=64,
        iterations=total,
        snapshot_interval=every,
        test_interval=every,
        display_interval=_DISPLAY,
    )
    log = folder / "t" / "s_log.jsonl"

    def count() -> int:
        # A line more follows the last step, with the loss of its parameters.
        lines = log.read_bytes().count(b'"train"') if log.exists() else 0
        return min(total, _DISPLAY * lines)

    return _watch(_train(solver), count, total, "step")


# ---- readers


def _readers(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    counts = {"accepted": 0, "refused": 0}
    faults = []
    readers = make_readers(folder)
    for reader in readers.values():
        for outcome in try_inputs(reader, mutations(reader, times, seed)):
            if outcome.is_fault:
                faults.append(f"{reader.name}: {outcome.result}")
            else:
                counts[outcome.result] += 1
    outcome_text = (
        f"{len(readers)} readers: {counts['refused']} inputs refused as documented, "
        f"{counts['accepted']} read, {len(faults)} faults {'; '.join(faults[:5])}"
    ).strip()
    return f"{times} inputs a reader", outcome_text, not faults


def _guided(folder: Path, times: int, seed: int) -> tuple[str, str, bool]:
    """Let atheris look for inputs, for as many seconds with each reader."""
    found = {name: search(name, times, seed) for name in make_readers(folder)}
    faults = [f"{name}: {result.fault}" for name, result in found.items() if result.fault]
    outcome = (
        f"{len(found)} readers: {sum(result.inputs for result in found.values())} inputs reach "
        f"{sum(result.last_reach for result in found.values())} edges of the Python code, the seeds "
        f"{sum(result.first_reach for result in found.values())}; {len(faults)} faults "
        f"{'; '.join(faults[:5])}"
    ).strip()
    return f"{times} s a reader", outcome, not faults


EXPERIMENTS = {
    "kill": Experiment("a training is killed (SIGKILL) at random moments", _kill),
    "cut": Experiment("a snapshot is cut off at a random byte", _cut_snapshot),
    "diverge": Experiment("the loss explodes", _diverge),
    "disk": Experiment("the disk is full when a snapshot is written", _full_disk),
    "lmdb_disk": Experiment("the disk is full when an LMDB is written", _full_disk_for_lmdb),
    "lmdb": Experiment("bytes of an LMDB are damaged, and a training reads it", _damaged_lmdb),
    "same": Experiment("the same training again, with the same seed", _deterministic),
    "trainings": Experiment("two trainings read one LMDB", _two_trainings),
    "setups": Experiment("two set-ups of one clone, with one cache", _two_setups),
    "colorizers": Experiment("two colorizers write into one folder", _two_colorizers),
    "photos": Experiment(
        "a long run of `autocolor`: 40 photos for each of the times", _long_colorizing
    ),
    "steps": Experiment(
        "a long training, slim net: 100 steps for each of the times", _long_training
    ),
    "readers": Experiment("damaged files of every kind that is read", _readers),
    "guided": Experiment("coverage-guided fuzzing of every reader (atheris)", _guided),
}
