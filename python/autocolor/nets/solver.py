"""Solver prototxt, for ``caffe train -solver`` and pycaffe alike. Needs pycaffe."""

from __future__ import annotations

from dataclasses import dataclass

from caffe.proto import caffe_pb2


@dataclass(frozen=True)
class SolverOptions:
    """A solver of Caffe's; unless told otherwise, gradient descent with momentum."""

    #: Paths of the prototxt files, relative to where ``caffe train`` is started
    train_net: str = ""
    test_net: str = ""
    snapshot_prefix: str = ""
    iterations: int = 0
    kind: str = "SGD"  #: {"SGD", "Adam"}
    #: {"poly", "fixed"}. The rate falls linearly to zero over the iterations, or stays.
    policy: str = "poly"
    base_learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    #: Longest gradient, of all weights together; a longer one is shortened to it. 0 limits none.
    clip_gradients: float = 0
    test_iterations: int = 8
    test_interval: int = 500
    snapshot_interval: int = 1000
    display_interval: int = 20
    seed: int = 1


def solver(options: SolverOptions) -> caffe_pb2.SolverParameter:
    """Solver of `options`, for ``caffe train -solver`` and pycaffe alike."""
    return caffe_pb2.SolverParameter(
        train_net=options.train_net,
        test_net=[options.test_net],
        test_iter=[options.test_iterations],
        test_interval=options.test_interval,
        type=options.kind,
        base_lr=options.base_learning_rate,
        lr_policy=options.policy,
        power=1.0 if options.policy == "poly" else None,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        clip_gradients=options.clip_gradients or None,
        max_iter=options.iterations,
        display=options.display_interval,
        average_loss=options.display_interval,
        snapshot=options.snapshot_interval,
        snapshot_prefix=options.snapshot_prefix,
        random_seed=options.seed,
        solver_mode=caffe_pb2.SolverParameter.CPU,
    )
