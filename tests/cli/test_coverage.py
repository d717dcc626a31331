"""tools/coverage.sh lists the lines that the tests do not reach."""

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def test_python_lines_are_listed():
    process = subprocess.run(
        [
            "bash",
            "tools/coverage.sh",
            "--python",
            "--",
            "-q",
            "tests/python/control/test_quantile.py",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    report = (ROOT / "build/coverage/python.txt").read_text()
    (line,) = [line for line in report.splitlines() if "autocolor/cli/command.py" in line]
    assert " 0%" in line  # its lines follow
    (line,) = [line for line in report.splitlines() if "autocolor/control/quantile.py" in line]
    assert int(line.split()[3].rstrip("%")) > 80
    assert process.stdout.splitlines()[-1] == (
        "the lines that are not reached are in build/coverage/*.txt"
    )
