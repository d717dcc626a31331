"""Put autocolor's layers into your own Caffe source tree, and take them out again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from caffe_overlay import PROTO, RECORD, apply_plan, plan_overlay
from caffe_source import CaffeSourceError, layer_parameter_fields

LAYERS = Path(__file__).resolve().parents[2] / "caffe_layers"
EPILOG = f"""\
what it does:
  copies caffe_layers/include and caffe_layers/src to the same places in CAFFE_ROOT, where
  Caffe's own build finds them, and inserts into {PROTO} the messages
  and these fields of LayerParameter:

{{fields}}

  It stops before it changes anything if an id, a name or a file is taken. It can be run again
  after an update of autocolor. {RECORD} in CAFFE_ROOT notes what is installed.
  caffe_layers/compat is not copied: it serves to build Caffe against newer libraries.

then build your Caffe as always, in CAFFE_ROOT, with either of
  cmake -B build -DCMAKE_CXX_FLAGS=-fopenmp && cmake --build build
  make all       (in Makefile.config: CXXFLAGS += -fopenmp and LINKFLAGS += -fopenmp)
cmake has to run again, for it lists the files. Without -fopenmp the layers use one core. A Caffe with
CUDA builds their .cu files as well.

examples:
  python tools/caffe_tree/install_into_caffe.py ~/caffe --dry-run      # what would be done
  python tools/caffe_tree/install_into_caffe.py ~/caffe
  python tools/caffe_tree/install_into_caffe.py ~/caffe --uninstall    # every byte as it was before

Nothing but Python is needed; without tools/setup.sh, put PYTHONPATH=python before python3.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    try:
        fields = (LAYERS / "proto" / "fields.proto").read_text(encoding="utf-8")
        ids = layer_parameter_fields(f"message LayerParameter {{\n{fields}}}")[2]
    except OSError as error:
        print(f"install_into_caffe: error: {error}", file=sys.stderr)
        return 1
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EPILOG.format(fields="\n".join(f"    {ids[name]}  {name}" for name in ids)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("caffe_root", metavar="CAFFE_ROOT", type=Path, help="Caffe's source tree")
    parser.add_argument("--uninstall", action="store_true", help="remove what was installed")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be done, change nothing"
    )
    arguments = parser.parse_args(argv)

    root = arguments.caffe_root
    try:
        plan = plan_overlay(root, LAYERS, remove=arguments.uninstall)
        for change in plan.changes:
            print(f"{change.action:7} {change.path}")
        if not arguments.dry_run:
            apply_plan(root, plan)
    except (CaffeSourceError, OSError) as error:
        print(f"install_into_caffe: error: {error}", file=sys.stderr)
        return 1
    if not plan.changes:
        print(
            f"{root}: "
            + ("nothing is installed" if arguments.uninstall else "everything is up to date")
        )
    elif arguments.dry_run:
        print("dry run: nothing was changed")
    elif arguments.uninstall:
        print(f"{root}: the layers are removed; build Caffe again")
    else:
        print(f"{root}: the layers are installed; build Caffe again (--help says how)")
    return 0


if __name__ == "__main__":
    # This runs without set-up, too: the package is beside it and needs nothing for this.
    sys.path.append(str(Path(__file__).resolve().parents[2] / "python"))
    from autocolor.core.programs import run_program

    run_program(main)
