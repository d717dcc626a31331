"""Train with the solver prototxt of `caffe train`, with progress, logs, plots and resuming."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from autocolor.core.errors import AutocolorError, exit_status
from autocolor.core.programs import at_least, command_parser, run_program
from autocolor.imaging.images import ImageError, find_photos
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.training.data_parallel import Group, MpiGroup, ParallelError, launched_ranks
from autocolor.training.preview import Previews
from autocolor.training.stopping import StopRequest, keep, supervise

_PROGRAM = "train"
_SECONDS_TO_SAVE = 60.0  # when mpirun kills a rank


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = command_parser(
        __doc__,
        """\
examples:
  python tools/train.py --solver build/mine/net/solver.prototxt --weights build/mine/balanced.caffemodel
  python tools/train.py --solver build/mine/net/solver.prototxt --resume
  python tools/train.py --solver build/mine/net/solver.prototxt --preview my_photos --preview-every 500
  mpirun -n 4 python tools/train.py --mpi --solver build/mine/net/solver.prototxt

The losses are those of `caffe train -solver SOLVER -weights WEIGHTS`, and either can resume what the
other has snapshotted. Beside the snapshots, the files PREFIX_log.csv, PREFIX_log.jsonl and
PREFIX_log.png grow, a line every `display` iterations (every one if that is 0), and each file of a
snapshot gets its checksum, FILE.sha256. Ctrl-C or SIGTERM end the iteration, write a snapshot and stop;
a second one stops at once. --resume takes the caffemodel beside the solverstate, so the folder may be
renamed, moved or copied; a snapshot that is damaged is passed over, and where there are snapshots and
none is usable, nothing is trained. One training at a time can have a snapshot_prefix. Where the solver fixes a
random_seed, --resume first goes through the records and random numbers of the iterations that are
done, so that on the CPU the parameters are those of a training that was never interrupted, bit for
bit; `caffe train -snapshot` starts again with the first record, and so does --no-replay. Set GLOG_minloglevel=0 to see
Caffe's own log.

With --mpi, each rank of mpirun trains on its share of the records, the gradients are averaged: n ranks
with batches of B images take the steps of one process with batches of n*B. All ranks read the same
files. Set OPENBLAS_NUM_THREADS and OMP_NUM_THREADS so that ranks times threads are the cores of a
machine. If a rank dies or does not answer, the others write a snapshot and the job ends; start it
again with --resume.

Exit status: 0, 1 on errors, 2 on wrong usage, 128 + signal (130, 143) when stopped.""",
    )
    parser.add_argument("-solver", "--solver", type=Path, required=True, help="solver prototxt")
    parser.add_argument(
        "-weights",
        "--weights",
        action="append",
        default=[],
        metavar="FILE[,FILE]",
        help="caffemodel to start from",
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest complete snapshot, if there is one",
    )
    start.add_argument(
        "--force",
        action="store_true",
        help="start anew: remove the snapshots and the log of an earlier training",
    )
    parser.add_argument(
        "--no-replay",
        action="store_true",
        help="on --resume, start again with the first record and random number",
    )
    preview = parser.add_argument_group("previews, in PREFIX_preview_iter_N.png")
    preview.add_argument(
        "--preview",
        type=Path,
        metavar="PHOTOS",
        help="colour photo, or folder of some, to colorize now and then",
    )
    preview.add_argument(
        "--preview-every",
        type=at_least(1),
        default=1000,
        metavar="N",
        help="iterations between previews (default: %(default)s)",
    )
    preview.add_argument(
        "--model-deploy",
        type=Path,
        metavar="PROTOTXT",
        help="dense net to colorize with (default: deploy.prototxt beside SOLVER)",
    )
    ranks = parser.add_argument_group("several processes, on one machine or many")
    ranks.add_argument("--mpi", action="store_true", help="be one of the ranks that mpirun starts")
    ranks.add_argument(
        "--mpi-timeout",
        type=float,
        default=600,
        metavar="SECONDS",
        help="how long to wait for another rank (default: %(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if not arguments.mpi_timeout > 0:
        parser.error("--mpi-timeout: expected a positive number")
    if launched_ranks() > 1 and not arguments.mpi:
        parser.error("mpirun has started several processes: expected --mpi")
    if not arguments.mpi:
        supervise(lambda number: _explain_crash(arguments.solver, number))
        return _train(arguments, Group(), StopRequest())
    keep(min(arguments.mpi_timeout, _SECONDS_TO_SAVE))
    try:
        stop = StopRequest(once=False)
        group = MpiGroup(arguments.mpi_timeout, stop)
        print(
            f"{_PROGRAM}: rank {group.rank} of {group.size} is process {os.getpid()} of "
            f"{platform.node()}",
            file=sys.stderr,
            flush=True,
        )
        status = _train(arguments, group, stop)
        group.finish()
    except ParallelError as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
    except Exception:
        traceback.print_exc()
    else:
        # The first failure makes mpirun kill the rest: that has to be rank 0, which has more to do.
        return status if group.rank == 0 else 0
    # At the ordinary exit MPI would wait for the ranks that are lost.
    sys.stderr.flush()
    os._exit(1)


def _train(arguments: argparse.Namespace, group: Group, stop: StopRequest) -> int:
    try:
        # Before the modules below: Caffe's log is turned off when it is first loaded, or never.
        import_caffe()
        from autocolor.training.solver_runner import SolverRunner, TrainingJob, say

        job = TrainingJob(
            arguments.solver,
            arguments.weights,
            arguments.resume,
            arguments.force,
            _previews(arguments),
            not arguments.no_replay,
        )
        runner = SolverRunner(job, group, stop)
        stopped = runner.run()
    except ParallelError:  # ends this rank alone
        raise
    except (AutocolorError, OSError) as error:
        if group.rank == 0:
            print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return exit_status(error)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if group.rank == 0:
        prefix = runner.solver.snapshot_prefix
        what = "stopped by a signal; --resume goes on" if stopped else "done"
        say(f"{what}: {prefix}_iter_{runner.iteration}.caffemodel, {prefix}_log.csv")
    return 128 + stopped if stopped else 0


def _explain_crash(solver: Path, number: signal.Signals) -> None:
    """Say what ended the training: the records of its data may be to blame."""
    reason = (
        "was memory short?"
        if number == signal.SIGKILL
        else "Caffe's reason is above, if it gave one"
    )
    try:
        import_caffe()
        from autocolor.training.snapshots import unfinished
        from autocolor.training.solver_files import check_records, read_solver

        check_records(solver)
        for state in unfinished(read_solver(solver).snapshot_prefix):
            free = shutil.disk_usage(state.parent).free
            reason = (
                f"snapshot {state} was not written to its end ({free / 2**20:,.0f} MiB are free)"
            )
    except (AutocolorError, OSError) as error:
        reason = str(error)
    print(
        f"\n{_PROGRAM}: error: the training was ended by {number.name}: {reason}; --resume goes on from "
        "the newest complete snapshot",
        file=sys.stderr,
    )


def _previews(arguments: argparse.Namespace) -> Previews | None:
    if arguments.preview is None:
        return None
    photos = [arguments.preview]
    if arguments.preview.is_dir():
        photos = find_photos(arguments.preview)
    deploy = arguments.model_deploy or arguments.solver.parent / "deploy.prototxt"
    for path in (*photos, deploy):
        if not path.is_file():
            raise ImageError(f"--preview: {path}: no such file")
    if not photos:
        raise ImageError(f"--preview: {arguments.preview}: no photos in this folder")
    return Previews(photos, arguments.preview_every, deploy)


if __name__ == "__main__":
    run_program(main)
