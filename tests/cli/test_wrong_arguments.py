"""Tools refuse what is wrong in one line, with 2 for an argument and 1 for a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.programs import call_main
from helpers.wrong_arguments import WRONG, Wrong


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.tool} {wrong.arguments}")
def test_wrong_arguments(
    wrong: Wrong,
    model_folder: Path,
    photo_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    places = {
        "model": model_folder,
        "photos": photo_folder,
        "empty": tmp_path / "empty",
        "out": tmp_path / "out",
    }
    arguments = [word.format(**places) for word in wrong.arguments.split()]
    assert call_main(wrong.tool, *arguments) == wrong.status
    errors = capsys.readouterr().err
    last = errors.splitlines()[-1]
    assert (
        last.startswith(f"{Path(wrong.tool).stem}: error: ")
        or f"{Path(wrong.tool).name}: error: " in last
    )
    assert wrong.message in last and "Traceback" not in errors
    results = ("data.mdb", "results.md", "metrics.json")
    assert not [path for path in tmp_path.rglob("*") if path.name in results]
