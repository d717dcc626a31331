"""Errors of the library."""

import ast
import pickle
from pathlib import Path

from autocolor.core.errors import AutocolorError, InputError

LIBRARY = Path(__file__).resolve().parents[3] / "python" / "autocolor"


def test_input_errors_name_the_argument_and_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(InputError("bins", "expected at least 1, got 0")))  # noqa: S301
    assert str(error) == "bins: expected at least 1, got 0"
    assert (error.argument, error.problem) == ("bins", "expected at least 1, got 0")
    assert isinstance(error, AutocolorError) and isinstance(error, ValueError)


def test_every_error_of_the_library_has_one_base() -> None:
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for path in LIBRARY.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and node.name[0] != "_"
    }
    known = {"AutocolorError"}
    for _ in bases:
        known |= {name for name, above in bases.items() if above & known}
    assert len(bases) > 25
    assert sorted(bases.keys() - known) == []
