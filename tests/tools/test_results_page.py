"""Tables beside the paper's numbers."""

from pathlib import Path

import numpy as np
import pytest

from autocolor.evaluation.evaluate import GREY
from autocolor.evaluation.metrics import ColorMetrics
from autocolor.imaging.images import find_photos, read_image
from autocolor.paper.experiments import ScoredMethod
from autocolor.paper.published import Published, Row, Table
from results_page import order_lines, plot_table, table_markdown


@pytest.fixture(scope="module")
def scores(photo_folder):
    """Three methods of known order: good is better than bad on every photo."""
    metrics = {GREY: ColorMetrics(), "good": ColorMetrics(), "bad": ColorMetrics()}
    for path in find_photos(photo_folder):
        truth = read_image(path).rgb
        for key, shift in ((GREY, 0.2), ("good", 0.05), ("bad", 0.4)):
            prediction = np.clip(truth + np.float32([shift, 0, -shift]), 0, 1)
            metrics[key].add(truth, prediction, Path(path).name)
    return {key: ScoredMethod(value, 0.1) for key, value in metrics.items()}


ROWS = (
    Row("no colorization", GREY, Published(0.3, 23.0)),
    Row("a", "good", Published(0.2, 24.0)),
    Row("b", "bad", Published(0.25, 24.5)),
)


def test_table_beside_the_paper(scores):
    table = Table("t", "T", "somewhere", ROWS, missing="Something is missing.")
    text = table_markdown(table, scores)
    lines = text.splitlines()
    good = scores["good"].metrics
    assert f"{good.scores().rmse:.3f} [{good.intervals()['rmse'].low:.3f}, " in lines[3]
    assert lines[3].endswith("| 0.200 | 24.00 | `good` |")
    difference = good.scores().rmse - scores[GREY].metrics.scores().rmse
    assert f"| {difference:+.3f} [" in lines[3]
    assert lines[2].split("|")[4:6] == ["  ", "  "]  # grey is not compared with itself
    assert text.rstrip().endswith("Something is missing.")


def test_order_of_the_rows(scores):
    """The paper: a, b, grey by RMSE and b, a, grey by PSNR; here a, grey, b, and surely so."""
    rmse, _, reversed_rmse, _, psnr, _, *reversed_psnr = order_lines(
        Table("t", "T", "", ROWS), scores
    )
    assert rmse.startswith("RMSE: 2 of 3 pairs of rows come in the paper's order, 2 of them surely")
    assert rmse.endswith("1 surely in the opposite one:")
    assert reversed_rmse.startswith("- b − no colorization: +") and "strengths" not in reversed_rmse
    assert psnr.startswith("PSNR: 1 of 3 pairs of rows come in the paper's order, 1 of them surely")
    assert psnr.endswith("2 surely in the opposite one:")
    assert [line.split(":")[0] for line in reversed_psnr] == ["- b − no colorization", "- b − a"]
    # Rows without numbers of the paper, or without that metric, are in no pair.
    rows = (*ROWS[:2], Row("c", "bad"), Row("d", "bad", Published(0.1)))
    lines = order_lines(Table("t", "T", "", rows), scores)
    starts = [line for line in lines if line.startswith(("RMSE", "PSNR"))]
    assert starts[0].startswith("RMSE: 1 of 3") and starts[1].startswith("PSNR: 1 of 1")
    assert order_lines(Table("t", "T", "", (Row("c", "bad"),)), scores) == []
    # Rows that are equal in the paper have no order.
    rows = (*ROWS[:2], Row("e", "bad", Published(0.2)))
    assert order_lines(Table("t", "T", "", rows), scores)[0].startswith("RMSE: 1 of 2 pairs")


def test_what_is_surely_reversed_is_tried_at_chosen_strengths(scores):
    """With too much colour b is worse than grey; at its chosen strength it is not, as in the paper."""
    rows = (ROWS[0], Row("b", "b@1", Published(0.25)))
    ours = {GREY: scores[GREY], "b@1": scores["bad"], "b@chosen": scores["good"]}
    first, _, line = order_lines(Table("t", "T", "", rows), ours)
    assert first.startswith("RMSE: 0 of 1") and first.endswith("1 surely in the opposite one:")
    assert ", with chosen strengths -0." in line
    del ours["b@chosen"]
    assert "strengths" not in order_lines(Table("t", "T", "", rows), ours)[2]


def test_plots(scores, tmp_path):
    plot_table(Table("t", "T", "somewhere", ROWS), scores, tmp_path / "table.png")
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
