"""Following the log of ``caffe train``."""

from autocolor.training.log import parse_log, plot_records, write_records

LOG = """\
I1123 11:00:00.1 1 solver.cpp:347] Iteration 0, Testing net (#0)
I1123 11:00:01.1 1 solver.cpp:414]     Test net output #0: loss_c = 3.5 (* 1 = 3.5 loss)
I1123 11:00:01.1 1 solver.cpp:414]     Test net output #1: loss_h = 0.5 (* 5 = 2.5 loss)
I1123 11:00:02.1 1 solver.cpp:239] Iteration 0 (-4.5e-44 iter/s, 2.5s/20 iters), loss = 6.25
I1123 11:00:02.1 1 solver.cpp:258]     Train net output #0: loss_c = 3.25 (* 1 = 3.25 loss)
I1123 11:00:02.1 1 solver.cpp:258]     Train net output #1: loss_h = 0.6 (* 5 = 3 loss)
I1123 11:00:02.1 1 sgd_solver.cpp:112] Iteration 0, lr = 0.01
I1123 11:00:42.1 1 solver.cpp:239] Iteration 20 (0.5 iter/s, 40s/20 iters), loss = nan
I1123 11:00:42.1 1 solver.cpp:258]     Train net output #0: loss_c = nan (* 1 = nan loss)
"""


def test_records():
    records = list(parse_log(LOG.splitlines()))
    assert [(r.iteration, r.phase) for r in records] == [(0, "test"), (0, "train"), (20, "train")]
    assert records[0].outputs == {"loss_c": 3.5, "loss_h": 0.5}
    assert records[0].loss == 6.0
    assert records[2].seconds_per_iteration == 2.0
    assert records[2].loss != records[2].loss  # NaN


def test_times_below_a_millisecond():
    line = (
        "I1123 11:00:42.1 1 solver.cpp:239] Iteration 2 (9e+03 iter/s, 9.5e-05s/1 iters), loss = 1"
    )
    output = "I1123 11:00:42.1 1 solver.cpp:258]     Train net output #0: loss = 1 (* 1 = 1 loss)"
    (record,) = parse_log([line, output])
    assert record.seconds_per_iteration == 9.5e-05


def test_table_and_plot(tmp_path):
    records = list(parse_log(LOG.splitlines()))
    write_records(records, tmp_path / "log.csv")
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[:2] == [
        "iteration,phase,seconds,learning_rate,smoothed_loss,loss,loss_c,loss_h",
        "0,test,0.0,,,6.0,3.5,0.5",
    ]
    plot_records(records[:2], tmp_path / "log.png")
    assert (tmp_path / "log.png").read_bytes().startswith(b"\x89PNG")
