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
    rmse, _, psnr = order_lines(Table("t", "T", "", ROWS), scores)
    assert rmse.startswith("RMSE: 2 of 3 pairs of rows come in the paper's order, 2 of them surely")
    assert rmse.endswith("1 surely in the opposite one.")
    assert psnr.startswith("PSNR: 1 of 3 pairs of rows come in the paper's order, 1 of them surely")
    assert psnr.endswith("2 surely in the opposite one.")
    # Rows without numbers of the paper, or without that metric, are in no pair.
    rows = (*ROWS[:2], Row("c", "bad"), Row("d", "bad", Published(0.1)))
    lines = order_lines(Table("t", "T", "", rows), scores)
    assert lines[0].startswith("RMSE: 1 of 3") and lines[2].startswith("PSNR: 1 of 1")
    assert order_lines(Table("t", "T", "", (Row("c", "bad"),)), scores) == []


def test_plots(scores, tmp_path):
    plot_table(Table("t", "T", "somewhere", ROWS), scores, tmp_path / "table.png")
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
