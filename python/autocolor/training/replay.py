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
    """Draw and read what `iterations` of training and their tests do.

    Parameters
    ----------
    caffe_solver : caffe.Solver
        Just made, with the solver's ``random_seed``; before the snapshot is restored.
    solver : SolverParameter
        As the user wrote it.
    layers : sequence of LayerParameter
        Of the training net.
    iterations : int
        That the snapshot has behind it.
    show : bool
        Whether to show a progress bar, should it take longer than two seconds.
    """
    drawing = {layer.name for layer in layers if _draws(layer)}
    net = caffe_solver.net
    places = [index for index, name in enumerate(layer_names(net)) if name in drawing]
    # A test net is run as a whole: which of its layers draw is in another file.
    tests = list(zip(caffe_solver.test_nets, solver.test_iter, strict=False))
    for iteration in tqdm(
        range(iterations),
        desc="replaying",
        unit="iteration",
        delay=2,
        disable=not show,
        leave=False,
    ):
        wanted = iteration > 0 or solver.test_initialization
        if wanted and solver.test_interval and iteration % solver.test_interval == 0:
            for test_net, batches in tests:
                for _ in range(batches):
                    test_net.forward()
        for _ in range(solver.iter_size):
            for index in places:
                forward_layer(net, index)


def _draws(layer: Any) -> bool:
    stochastic = caffe_pb2.PoolingParameter.STOCHASTIC
    return layer.type in _READ_OR_DRAW or (
        layer.type == "Pooling" and layer.pooling_param.pool == stochastic
    )
