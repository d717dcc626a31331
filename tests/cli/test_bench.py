"""tools/bench/run.py as a user runs it, and how it measures."""

import json
import os
import re
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

from helpers.programs import ROOT, run_main, run_tool

BENCH = ROOT / "tools" / "bench"


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)  # as Python itself does for tools/bench/run.py
    import measure

    return measure


@pytest.fixture
def network_arithmetic(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    from arithmetic import network_arithmetic

    return network_arithmetic


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    import results

    return results


bench = partial(run_tool, "tools/bench/run.py", status=None)


def test_what_is_measured_is_built_first(tmp_path, monkeypatch):
    """A library of older sources would be measured in the name of the commit."""
    monkeypatch.syspath_prepend(BENCH)
    import run

    from autocolor.core.errors import InputError

    monkeypatch.setattr(run, "ROOT", tmp_path)
    run.build()  # a bundle has nothing to build
    rules = tmp_path / "build" / "build.ninja"
    rules.parent.mkdir()
    rules.write_text("rule copy\n  command = cp $in $out\nbuild library: copy source\n")
    (rules.parent / "source").write_text("new")
    run.build()
    assert (rules.parent / "library").read_text() == "new"
    (rules.parent / "source").unlink()
    with pytest.raises(InputError, match="build: cannot be built: .*source"):
        run.build()


@pytest.mark.slow
def test_every_benchmark_runs(tmp_path):
    """At small sizes; --resume then measures nothing again."""
    listed = bench("--list").stdout.splitlines()
    names = {line.split()[0] for line in listed}
    arguments = (
        "--quick",
        "--out",
        tmp_path / "bench",
        "--json",
        tmp_path / "bench.json",
        "--markdown",
        tmp_path / "performance.md",
    )
    ran = bench(*arguments)
    assert ran.returncode == 0, ran.stderr
    rows = json.loads((tmp_path / "bench.json").read_text())
    assert {row["benchmark"] for row in rows} <= names
    assert len({row["name"] for row in rows}) == len(rows)
    for row in rows:
        # Of sizes this small, time need not grow.
        assert row["ratio"] > 0 or row["unit"] == "fitted exponent"
        assert row["unit"]
        assert row["target"] is None or row["met"] in (True, False)
    markdown = (tmp_path / "performance.md").read_text()
    for row in rows:
        assert f"| {row['name']} | " in markdown
    for figure in (tmp_path / "performance").glob("*"):
        assert f"](performance/{figure.name})" in markdown
    assert json.loads((tmp_path / "performance.json").read_text()) == rows
    assert {"date", "processor", "instructions", "commit"} <= set(rows[0]["machine"])
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "bench").glob("*.json")}
    assert set(before) == {f"{name}.json" for name in names}
    assert bench(*arguments, "--resume").returncode == 0
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "bench").glob("*.json")}
    assert after == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "nonsense"), "--only nonsense: no benchmark has this name"),
        (("--repetitions", "0"), "--repetitions: expected at least 1, got 0"),
        (("--threads", "0"), "--threads: expected at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    assert message in run_main("tools/bench/run.py", *arguments, status=2).stderr


def _ratios(path, machine="a machine", **ratios):
    """Write a file of ratios, each (ratio, target, at_least, met)."""
    rows = [
        {
            "name": name,
            "ratio": ratio,
            "target": target,
            "unit": "times",
            "at_least": at_least,
            "met": met,
            "machine": {"processor": machine},
        }
        for name, (ratio, target, at_least, met) in ratios.items()
    ]
    path.write_text(json.dumps(rows))
    return path


def test_two_runs_are_compared(tmp_path):
    """By what is better: a larger speed-up and less memory; new and lost rows are shown."""
    before = _ratios(
        tmp_path / "before.json",
        speed=(4.0, None, True, None),
        memory=(2.0, None, False, None),
        steady=(1.0, None, True, None),
        gone=(1.0, None, True, None),
    )
    after = _ratios(
        tmp_path / "after.json",
        "another",
        speed=(5.0, None, True, None),
        memory=(1.0, None, False, None),
        steady=(1.05, None, True, None),
        new=(3.0, None, True, None),
    )
    ran = run_tool("tools/bench/compare.py", before, after)
    assert "processor: a machine before, another after" in ran.stdout
    assert "| speed | 4 | 5 times | +25 % |  |" in ran.stdout
    assert "| memory | 2 | 1 times | +100 % |  |" in ran.stdout
    assert "| new | 3 times | | | new |" in ran.stdout
    assert "| gone | 1 times | | | gone |" in ran.stdout
    assert "steady" not in ran.stdout and "0 of 3 ratios are worse" in ran.stdout
    assert "steady" in run_tool("tools/bench/compare.py", before, after, "--all").stdout
    back = run_tool("tools/bench/compare.py", after, before, status=1)
    assert "| memory | 1 | 2 times | -50 % | **worse** |" in back.stdout
    assert "2 of 3 ratios are worse" in back.stdout


def test_a_target_that_is_missed_anew_is_worse(tmp_path):
    before = _ratios(tmp_path / "before.json", speed=(4.0, 4.0, True, True))
    after = _ratios(tmp_path / "after.json", speed=(3.9, 4.0, True, False))
    assert "**target missed**" in run_tool("tools/bench/compare.py", before, after, status=1).stdout
    run_tool("tools/bench/compare.py", after, after)
    (tmp_path / "broken.json").write_text("{}[")
    refused = run_tool("tools/bench/compare.py", before, tmp_path / "broken.json", status=1)
    assert "broken.json: expected what tools/bench/run.py --json writes" in refused.stderr


@pytest.mark.slow
def test_table_of_convolutions_is_written(tmp_path):
    """In the form that the library is compiled with: letters by pass, channels, outputs and tiles."""
    out, times = tmp_path / "choice.inc", tmp_path / "times.csv"
    command = [
        sys.executable,
        BENCH / "choose_convolution.py",
        "--quick",
        "--out",
        out,
        "--csv",
        times,
    ]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    shipped = (ROOT / "caffe_layers" / "onednn" / "convolution_choice.inc").read_text()
    written = out.read_text()
    names = re.findall(r'"(winograd, [^"]+)"', written)
    assert names
    assert set(names) <= set(re.findall(r'"(winograd, [^"]+)"', shipped))
    for text, count in ((written, len(names)), (shipped, 2)):
        assert len(re.findall(r'"[wo]{6}"', text)) == count * 4 * 5 * 5
    if len(names) == 2:
        assert re.sub(r'"[wo]{6}"', "", written) == re.sub(r'"[wo]{6}"', "", shipped)
    assert len(times.read_text().splitlines()) == 1 + len(names) * 4 * 5 * 5 * 6


def test_interleaved_takes_turns(measure):
    calls = []
    timings = measure.interleaved(
        {"a": lambda: (calls.append("a"), time.sleep(0.02)), "b": lambda: calls.append("b")},
        3,
        warm_up=2,
    )
    assert calls == ["a", "b"] * 5
    assert len(timings["a"].seconds) == 3
    assert timings["a"].minimum >= 0.02
    with pytest.raises(ValueError, match="repetitions: expected at least 1, got 0"):
        measure.interleaved({}, 0)


def test_speedup_is_the_median_of_the_rounds(measure):
    baseline = measure.Timing((4.0, 40.0, 9.0))
    ours = measure.Timing((2.0, 10.0, 3.0))
    assert baseline.median == 9.0
    assert ours.minimum == 2.0
    assert measure.speedup(baseline, ours) == 3.0


def fill(megabytes):
    return float(np.ones(megabytes * 2**20, np.uint8).sum())


def fail():
    raise KeyError("nothing")


def die():
    os._exit(7)


@pytest.mark.slow
def test_peak_memory_is_of_a_fresh_process(measure):
    large = np.ones(300 * 2**20, np.uint8)  # this process is larger than the child
    value, small = measure.in_child(fill, 1)
    assert value == 2**20
    assert small < large.nbytes
    # The allocator may round up, and pages of libraries vary by some hundred kB.
    assert abs(measure.in_child(fill, 101)[1] - small - 100 * 2**20) < 8 * 2**20


def test_a_child_that_fails_is_reported(measure):
    with pytest.raises(measure.ChildError, match=r"(?s)fail raised:.*KeyError: .nothing") as error:
        measure.in_child(fail)
    assert "test_bench.py" in str(error.value)
    with pytest.raises(measure.ChildError, match="die: its process ended with exit status 7"):
        measure.in_child(die)


def test_results_know_their_target(results):
    common = {
        "unit": "times",
        "ours": 1.0,
        "baseline": 2.0,
        "value_unit": "ms",
        "baseline_name": "slow",
    }
    fast = results.Result("a", 4.2, 4.0, at_least=True, **common)
    lean = results.Result("b", 0.06, 0.05, at_least=False, **common)
    shown = results.Result("c", 7.0, None, at_least=True, **common)
    assert [fast.met, lean.met, shown.met] == [True, False, None]
    report = results.Report([fast, lean, shown], "why", {"plot.png": "growth"})
    assert (
        results.report_from_json(json.loads(json.dumps(results.report_as_json(report)))) == report
    )
    markdown = results.performance_markdown({"commit": "1234"}, {"Speed": report}, "plots")
    for line in (
        "| commit | 1234 |",
        "| a | 4.2 times | ≥ 4 | yes | 1 ms | 2 ms: slow |",
        "| b | 0.06 times | ≤ 0.05 | **no** | 1 ms | 2 ms: slow |",
        "## Speed",
        "\nwhy\n",
        "![growth](plots/plot.png)",
    ):
        assert line in markdown


def test_arithmetic_of_the_network(network_arithmetic):
    """VGG-16's convolutions are 15,346,630,656 multiply-adds on 224 × 224 in colour."""
    work = network_arithmetic(224)
    of_colours = 2 * 64 * 9 * 224**2  # conv1_1 on the two channels that a grey photo lacks
    assert work.convolutions == pytest.approx(2 * (15_346_630_656 - of_colours) / 1e9)
    fc6, fc7 = 7 * 7 * 512 * 4096, 4096 * 4096
    assert work.products == pytest.approx(2 * 7**2 * (fc6 + fc7) / 1e9)
    # Written out, a hypercolumn has all 12,417 channels at each of 56 × 56 places.
    assert work.dense_head == pytest.approx(2 * 56**2 * 1024 * (12417 + 64) / 1e9)
    assert work.head < work.dense_head / 5
