"""Build a solver and restore a snapshot: ``python -m autocolor.training.solver_probe SOLVER [STATE]``.

Caffe ends the process on what it cannot use, so this is one of its own; see
:func:`autocolor.training.solver_files.probe`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.training.snapshots import missing_weights, read_state


def main(arguments: Sequence[str]) -> int:
    """Return the exit status; the reason of a failure is the last line on stderr."""
    caffe = import_caffe()
    solver = caffe.get_solver(arguments[0])
    print("built", flush=True)
    for name in arguments[1:]:
        model = read_state(Path(name)).model
        # Caffe leaves a layer that the file lacks as it was initialised, and says nothing.
        if missing := missing_weights(solver.net, model):
            print(f"{model} has no weights of {missing}", file=sys.stderr)
            return 1
        solver.restore(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
