"""Solver prototxt, for ``caffe train -solver`` and pycaffe alike. Needs pycaffe."""

from __future__ import annotations

from dataclasses import dataclass

from caffe.proto import caffe_pb2


@dataclass(frozen=True)
class SolverOptions:
    """A solver of Caffe's; unless told otherwise, gradient descent with momentum."""

    #: Paths of the prototxt files, relative to where ``caffe train`` is started
    train_net: str
    test_net: str
    snapshot_prefix: str
    iterations: int
    kind: str = "SGD"  #: {"SGD", "Adam"}
    #: {"poly", "fixed"}. The rate falls linearly to zero over the iterations, or stays.
    policy: str = "poly"
    base_learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    test_iterations: int = 8
    test_interval: int = 500
    snapshot_interval: int = 1000
    display_interval: int = 20
    seed: int = 1


def solver(options: SolverOptions) -> caffe_pb2.SolverParameter:
    """Solver of `options`, for ``caffe train -solver`` and pycaffe alike."""
    parameter = caffe_pb2.SolverParameter()
    parameter.train_net = options.train_net
    parameter.test_net.append(options.test_net)
    parameter.test_iter.append(options.test_iterations)
    parameter.test_interval = options.test_interval
    parameter.type = options.kind
    parameter.base_lr = options.base_learning_rate
    parameter.lr_policy = options.policy
    if options.policy == "poly":
        parameter.power = 1.0
    parameter.momentum = options.momentum
    parameter.weight_decay = options.weight_decay
    parameter.max_iter = options.iterations
    parameter.display = options.display_interval
    parameter.average_loss = options.display_interval
    parameter.snapshot = options.snapshot_interval
    parameter.snapshot_prefix = options.snapshot_prefix
    parameter.random_seed = options.seed
    parameter.solver_mode = caffe_pb2.SolverParameter.CPU
    return parameter
