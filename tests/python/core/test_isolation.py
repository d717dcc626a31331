"""Functions in a process of their own, whatever they do to it."""

from __future__ import annotations

import json
import os
import time

import pytest

from autocolor.core.isolation import Failure, parse_failure, run_isolated


def test_success_is_none() -> None:
    assert run_isolated(json.loads, ["[1, 2]"]) is None


def test_text_of_an_error_in_one_line() -> None:
    failure = run_isolated(json.loads, ["[1,\n"])
    assert failure is not None
    assert failure.reason.startswith("Expecting value: line 2")
    assert failure.errors == failure.reason + "\n"


def test_output_before_the_end_is_kept() -> None:
    failure = run_isolated(exec, ["import os\nprint('built', flush=True)\nos._exit(7)"])
    assert failure == Failure("exit status 7", "built\n", "")


def test_signals_have_names() -> None:
    failure = run_isolated(os.abort, [])
    assert failure is not None
    assert failure.reason == "SIGABRT"


def test_time_is_limited() -> None:
    failure = run_isolated(time.sleep, [600], seconds=2)
    assert failure is not None
    assert failure.reason == "not done within 2 seconds"


@pytest.mark.parametrize("date", ["1123", "20261123"])
def test_reason_is_caffes_fatal_line(date: str) -> None:
    errors = (
        f"W{date} 10:00:00.000000     7 a.cpp:1] a warning\n"
        f"F{date} 10:00:00.000000     7 net.cpp:9] Check failed: a == b (1 vs. 2) they differ\n"
        "*** Check failure stack trace: ***\n"
    )
    failure = parse_failure(-6, "", errors)
    assert failure is not None
    assert failure.reason == "a == b (1 vs. 2) they differ"
    assert parse_failure(0, "", errors) is None
