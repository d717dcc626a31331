"""Nets are tried in a child once, and the good verdict is kept for this very Caffe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from autocolor.core.isolation import Failure, run_isolated
from autocolor.runtime import probe

NET = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: [1, 1, 8, 8] }} }} }}
layer {{ name: "x" type: "{type}" bottom: "data" top: "x" }}
"""


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Nets tried in a child, which the test may look at; the cache is empty."""
    tried = []

    def counted(function: Any, args: Sequence[Any], seconds: float) -> Failure | None:
        tried.append(args[0])
        return run_isolated(function, args, seconds)

    monkeypatch.setattr(probe, "run_isolated", counted)
    monkeypatch.setenv("AUTOCOLOR_CACHE", str(tmp_path / "cache"))
    return tried


def test_a_good_net_is_tried_once(children: list[str]) -> None:
    net = NET.format(type="ReLU")
    assert probe.check_net(net) is None
    assert probe.check_net(net) is None
    assert children == [net]
    other = NET.format(type="Sigmoid")
    assert probe.check_net(other) is None
    assert children == [net, other]


def test_a_refused_net_is_tried_each_time(children: list[str]) -> None:
    net = NET.format(type="Nothing")
    for _ in range(2):
        assert "Unknown layer type: Nothing" in (probe.check_net(net) or "")
    assert children == [net, net]


def test_another_build_of_caffe_has_verdicts_of_its_own(
    children: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = NET.format(type="ReLU")
    assert probe.check_net(net) is None
    checksum = probe._checksum
    monkeypatch.setattr(probe, "_checksum", lambda text: checksum(text + "rebuilt"))
    assert probe.check_net(net) is None
    assert children == [net, net]


def test_a_cache_that_cannot_be_written_is_done_without(
    children: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOCOLOR_CACHE", str(tmp_path / "file"))
    net = NET.format(type="ReLU")
    assert [probe.check_net(net), probe.check_net(net)] == [None, None]
    assert children == [net, net]
