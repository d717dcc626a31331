"""Train one net in several processes, each on its share of the data, with MPI.

As Caffe does with several GPUs: every rank computes the gradient of its own batch, all ranks take
the mean of the gradients, and each applies the same update to its own copy of the parameters. Ranks
that have batches of B images take the steps of one process with a batch of B times their number.
Caffe's ``Data`` and ``HDF5Data`` layers deal the records out by themselves, like cards: with n ranks,
rank r reads the records r, r + n, r + 2 n, …
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from autocolor.core.errors import AutocolorError
from autocolor.core.files import one_line
from autocolor.runtime.caffe_runtime import layer_names
from autocolor.training.stopping import StopRequest

_LOSSES = ("InfogainLoss", "SigmoidCrossEntropyLoss", "SoftmaxKLDivergenceLoss", "SoftmaxWithLoss")
_LAUNCHED_SIZE = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")


class ParallelError(AutocolorError):
    """The ranks cannot go on together; one line."""


def launched_ranks() -> int:
    """Return the number of ranks that ``mpirun`` says it has started; 1 without it."""
    return max(int(os.environ.get(name) or 1) for name in _LAUNCHED_SIZE)


class DivergenceError(ParallelError):
    """The ranks do not have the same parameters any more."""


class Group:
    """A group of one: the process on its own.

    Attributes
    ----------
    rank, size : int
        Of this process, and the number of processes.
    """

    rank = 0
    size = 1

    def share(self, value: Any) -> Any:
        """Return the value that rank 0 has given."""
        return value

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks."""
        return [value]

    def broadcast(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        """Overwrite the arrays by those of rank 0."""

    def add(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        """Overwrite the arrays by their sums over the ranks."""

    def maximum(self, values: Sequence[int]) -> list[int]:
        """Return the largest of each of the values over the ranks, which wait here for each other."""
        return list(values)

    def finish(self) -> None:
        """End the group, which all ranks do at the same time."""


class MpiGroup(Group):
    """The ranks of ``mpirun``.

    Parameters
    ----------
    timeout : float
        Seconds to wait for the other ranks in one place, after which they count as lost.
    stop : StopRequest
        Ends the waiting at once when the launcher has given this process up.

    Raises
    ------
    ParallelError
        If there is no mpi4py. All other methods but `share` and `gather` raise it when the others
        do not come, or MPI reports an error.
    """

    def __init__(self, timeout: float, stop: StopRequest) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise ParallelError(
                f"cannot import mpi4py ({error}); `bash tools/setup.sh` installs it, and mpirun"
            ) from None
        self._mpi = MPI
        self._world = MPI.COMM_WORLD
        self._timeout = timeout
        self._stop = stop
        self.rank = self._world.Get_rank()
        self.size = self._world.Get_size()

    def share(self, value: Any) -> Any:
        """Return the value that rank 0 has given."""
        return self._world.bcast(value)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks."""
        return list(self._world.allgather(value))

    def broadcast(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        """Overwrite the arrays by those of rank 0."""
        self._wait(self._world.Ibcast(array) for array in arrays)

    def add(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        """Overwrite the arrays by their sums over the ranks."""
        self._wait(self._world.Iallreduce(self._mpi.IN_PLACE, array) for array in arrays)

    def maximum(self, values: Sequence[int]) -> list[int]:
        """Return the largest of each of the values over the ranks, which wait here for each other."""
        array = np.array(values, np.int64)
        self._wait([self._world.Iallreduce(self._mpi.IN_PLACE, array, self._mpi.MAX)])
        return [int(value) for value in array]

    def finish(self) -> None:
        """End the group, which all ranks do at the same time."""
        self.maximum([0])
        self._mpi.Finalize()

    def _wait(self, requests: Any) -> None:
        # Blocking calls would wait for ever for a rank that is gone.
        deadline = time.monotonic() + self._timeout
        try:
            pending = list(requests)
            while not self._mpi.Request.Testall(pending):
                if self._stop.abandoned:
                    raise ParallelError("mpirun has ended this job: another rank died")
                if time.monotonic() > deadline:
                    raise ParallelError(f"another rank did not answer within {self._timeout:g} s")
                os.sched_yield()  # the other ranks may need this core
        except self._mpi.Exception as error:
            raise ParallelError(f"MPI: {one_line(error)}") from None


class GradientMean:
    """The mean of the gradients over the ranks, before each update, of a net made from `layers`.

    Its `losses` are to be applied between forward and backward, and restored before the next forward.
    """

    def __init__(self, net: Any, layers: Sequence[Any], group: Group) -> None:
        self._group = group
        self._net = net
        rates = {layer.name: [spec.lr_mult for spec in layer.param] for layer in layers}
        learnt: dict[int, Any] = {}
        kept: dict[int, Any] = {}
        for name, layer in zip(layer_names(net), net.layers, strict=True):
            for index, blob in enumerate(layer.blobs):
                address = blob.data.ctypes.data  # shared weights are one blob in two layers
                # Running means differ by rank, and no gradient changes them: rank 0's count.
                if layer.type != "BatchNorm":
                    kept.setdefault(address, blob)
                if (rates.get(name, [])[index : index + 1] or [1.0])[0] != 0:
                    learnt.setdefault(address, blob)
        self._learnt = list(learnt.values())
        self._kept = list(kept.values())
        self.losses = LossWeights(net, layers, group)

    def start(self) -> None:
        """Give every rank the parameters of rank 0."""
        self._group.broadcast([blob.data for blobs in self._net.params.values() for blob in blobs])

    def check(self) -> None:
        """Raise `DivergenceError` unless every rank has the same parameters, bit by bit."""
        checksum = 0
        for blob in self._kept:
            checksum = zlib.crc32(memoryview(blob.data), checksum)
        largest, smallest = self._group.maximum([checksum, -checksum])
        if largest != -smallest:
            raise DivergenceError("the ranks' parameters differ: do all run the same program?")

    def take(self, numbers: npt.NDArray[np.float64]) -> None:
        """Average the gradients, and add `numbers` up, over the ranks."""
        gradients = [blob.diff for blob in self._learnt]
        self._group.add([*gradients, numbers])
        for gradient in gradients:
            gradient *= 1 / self._group.size


class LossWeights:
    """What makes the mean of the ranks' gradients that of one large batch.

    A loss layer divides by its number of valid rows (``normalization: VALID``), which differs from
    rank to rank where rows are ignored; the mean of such quotients is not the quotient of the sums.
    So before the backward pass each rank's loss weight is multiplied by
    (its valid rows) · (ranks) / (all valid rows). A loss that is not divided at all
    (``normalization: NONE``) is multiplied by the number of ranks.
    """

    def __init__(self, net: Any, layers: Sequence[Any], group: Group) -> None:
        self._net = net
        self._group = group
        self._losses = []
        for layer in layers:
            mode = _normalization(layer)
            if mode is not None and group.size > 1:
                top = net.top_names[layer.name][0]
                self._losses.append((top, mode, layer, net.blob_loss_weights[top]))

    def apply(self) -> dict[str, float]:
        """Change the loss weights; returns the factor of each loss, by the name of its blob."""
        if not self._losses:
            return {}
        rows = (
            mode != "VALID" or _valid_rows(self._net, layer) for _, mode, layer, _ in self._losses
        )
        counts = np.fromiter(rows, np.float64)
        totals = counts.copy()
        self._group.add([totals])
        factors = {}
        for (top, mode, _, weight), count, total in zip(self._losses, counts, totals, strict=True):
            size = self._group.size
            factors[top] = size if mode == "NONE" else count * size / total if total else 1.0
            self._net.blobs[top].diff[...] = weight * factors[top]
        return factors

    def restore(self) -> None:
        """Undo `apply`: the forward pass multiplies the losses by the same weights."""
        for top, _, _, weight in self._losses:
            self._net.blobs[top].diff[...] = weight


def _normalization(layer: Any) -> str | None:
    """Return ``VALID`` or ``NONE`` where the ranks' losses have to be weighed, else None."""
    if layer.type not in _LOSSES:
        return None
    loss = layer.loss_param
    if loss.HasField("normalization"):
        mode = loss.NormalizationMode.Name(loss.normalization)
    elif loss.HasField("normalize"):
        mode = "VALID" if loss.normalize else "BATCH_SIZE"
    else:
        mode = "BATCH_SIZE" if layer.type == "SigmoidCrossEntropyLoss" else "VALID"
    if mode == "VALID" and layer.type != "SoftmaxKLDivergenceLoss":
        return mode if loss.HasField("ignore_label") else None
    return mode if mode in ("VALID", "NONE") else None


def _valid_rows(net: Any, layer: Any) -> int:
    """Count the rows that a loss layer divides by."""
    target = net.blobs[net.bottom_names[layer.name][1]].data
    if layer.type == "SoftmaxKLDivergenceLoss":
        return int(np.count_nonzero(target.sum(axis=1)))
    return int(np.count_nonzero(target != layer.loss_param.ignore_label))
