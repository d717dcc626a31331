"""Times and memory of stages: within each other, in this run and in earlier ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autocolor.paper.stages import Cost, Stages


def seconds(stages: Stages) -> dict[str, float]:
    return {name: cost.seconds for name, cost in stages.costs.items()}


def test_stages_within_stages_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 4.0, 10.0, 20.0, 25.0])
    monkeypatch.setattr("autocolor.paper.stages.time.monotonic", lambda: next(now))
    lines: list[str] = []
    stages = Stages(tmp_path, lines.append)
    with stages.timed("outer"), stages.timed("inner"):
        pass
    assert seconds(stages) == {"outer": 7.0, "inner": 3.0}
    with stages.timed("inner"):
        pass
    assert seconds(stages) == {"outer": 7.0, "inner": 8.0}
    assert [line.split(" minutes, ")[0] for line in lines] == [
        "inner: 0.1",
        "outer: 0.1",
        "inner: 0.1",
    ]


def test_a_stage_may_know_its_time_from_an_earlier_run(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    with stages.timed("training") as cost:
        cost.seconds = 240.0
    assert seconds(stages) == {"training": 240.0}


def test_memory_is_that_of_this_process_and_of_those_it_starts(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    with stages.timed("nothing"):
        pass
    with stages.timed("here"):
        held = np.ones(2**26, np.uint8)  # 64 MiB, and time enough for several looks
        with stages.timed("there"):
            child = "import sys, time; held = b'1' * 2**26; time.sleep(2)"
            subprocess.run([sys.executable, "-c", child], check=True)
    peak = {name: cost.peak_mb for name, cost in stages.costs.items()}
    assert len(held) and 10 < peak["nothing"] < peak["here"] - 100
    assert peak["there"] > peak["nothing"] + 100


def test_the_most_of_all_runs_is_kept(tmp_path: Path) -> None:
    for costs, most in (
        ({"a": Cost(5.0, 100.0)}, {"a": Cost(5.0, 100.0)}),
        (
            {"a": Cost(0.1, 200.0), "b": Cost(2.0, 1.0)},
            {"a": Cost(5.0, 200.0), "b": Cost(2.0, 1.0)},
        ),
    ):
        stages = Stages(tmp_path)
        stages.costs.update(costs)
        assert stages.most() == most


def test_a_stage_that_fails_ends(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    with pytest.raises(KeyError), stages.timed("failing"):
        raise KeyError("x")
    with stages.timed("next"):
        pass
    assert "next" in stages.costs
