"""Bring data and random numbers of a solver to where an interrupted training left them.

Caffe's snapshots hold neither: ``caffe train -snapshot`` starts again with the first record, and with
the random numbers of the first iteration. With a fixed seed all of it follows from the number of
forward passes, so the layers that read or draw are run that often, and no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe.proto import caffe_pb2

from autocolor.core.progress import tqdm
from autocolor.runtime.caffe_runtime import forward_layer, layer_names

_READ_OR_DRAW = ("Data", "DummyData", "Dropout", "HDF5Data", "ImageData", "WindowData")


def replay(
    caffe_solver: Any, solver: Any, layers: Sequence[Any], iterations: int, *, show: bool
) -> None:
    """Draw and read what the `iterations` that a snapshot has behind it did, with their tests.

    `caffe_solver` is just made, with its ``random_seed``, and the snapshot not restored yet; `solver` is
    what the user wrote, and `layers` are the training net's. `show` is for a progress bar, should it take
    longer than two seconds.
    """
    stochastic = caffe_pb2.PoolingParameter.STOCHASTIC
    drawing = {
        layer.name
        for layer in layers
        if layer.type in _READ_OR_DRAW
        or (layer.type == "Pooling" and layer.pooling_param.pool == stochastic)
    }
    net = caffe_solver.net
    places = [index for index, name in enumerate(layer_names(net)) if name in drawing]
    # A test net is run as a whole: which of its layers draw is in another file.
    tests = list(zip(caffe_solver.test_nets, solver.test_iter, strict=False))
    bar = tqdm(
        range(iterations), "replaying", unit="iteration", delay=2, disable=not show, leave=False
    )
    for iteration in bar:
        wanted = iteration > 0 or solver.test_initialization
        if wanted and solver.test_interval and iteration % solver.test_interval == 0:
            for test_net, batches in tests:
                for _ in range(batches):
                    test_net.forward()
        for _ in range(solver.iter_size):
            for index in places:
                forward_layer(net, index)
