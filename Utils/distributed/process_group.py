"""Process group: the processes that train one network together, and values that all of them agree on.

    torchrun --nproc_per_node=8 main.py --architecture=imagenet/resnet50 --data=imagenet

Each process computes its share of every batch. Gradients and batch statistics are those of the whole batch
(`synchronised_layers.py`), so the result equals that of one process up to the order of sums. Only the first process
prunes, reads, writes and prints. Without torchrun, the group has one process.
"""

import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from Utils.distributed.torchrun import is_process_of_torchrun
from Utils.errors import UserError, describe_error

Result = TypeVar("Result")


@dataclass(frozen=True)
class Share:
    """The part of each batch that one process computes."""

    number: int = 0
    """Rank of the process."""
    of: int = 1
    """Number of processes."""

    def positions(self, count: int, parts: int = 1) -> list[range]:
        """Positions of this share in a batch of `count` images: one range for each of `parts`, computed in turn."""
        bounds = [count * part // parts for part in range(parts + 1)]
        share_bounds = [
            [start + (end - start) * number // self.of for number in (self.number, self.number + 1)]
            for start, end in pairwise(bounds)
        ]
        return [range(start, end) for start, end in share_bounds]


def share() -> Share:
    """The share of this process."""
    return Share(dist.get_rank(), dist.get_world_size()) if _is_started() else Share()


def is_first() -> bool:
    """Whether this process is the first, which writes and prints."""
    return share().number == 0


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the process group of torchrun, if torchrun started this process; `device` is the value of `--device`.

    Raises `UserError` if there are more processes than GPUs.
    """
    if not is_process_of_torchrun() or _is_started():
        yield
        return
    uses_gpus = device != "cpu" and torch.cuda.is_available()
    if uses_gpus:
        wanted, available = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if wanted > available:
            raise UserError(
                f"--nproc_per_node={wanted}: this machine has {available} GPUs; give {available}, or --device=cpu"
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # The strides of 1 x 1 kernels are valid in both memory layouts, so this warning is harmless.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    # gloo sends objects; the fastest available backend sends gradients.
    dist.init_process_group("cpu:gloo,cuda:nccl" if uses_gpus else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def agree(function: Callable[[], Result]) -> Result:
    """Call a function in the first process, and return its result in all processes.

    An error is raised in all processes. Tensors must be on the CPU.
    """
    if not _is_started():
        return function()
    outcome: list[Any] = [None, None]
    if is_first():
        try:
            outcome[0] = function()
        except Exception as error:
            outcome[1] = _picklable(error)
    dist.broadcast_object_list(outcome, src=0, device=torch.device("cpu"))
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(describe_error(error))
    return error


def total(tensor: Tensor) -> Tensor:
    """Sum of a tensor over all processes."""
    if not _is_started():
        return tensor
    result = tensor.clone()
    dist.all_reduce(result)
    return result


def gathered(value: Result) -> list[Result]:
    """The values of all processes, ordered by rank."""
    if not _is_started():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def parallel(model: nn.Module) -> nn.Module:
    """Wrap a network for training in all processes: gradients are averaged over them."""
    if not _is_started():
        return model
    devices = [next(model.parameters()).device] if next(model.parameters()).is_cuda else None
    # Buffers are equal in all processes, and a broadcast of masks would make each layer convert them again.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*broadcast_buffers")
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)


def without_averaging(network: nn.Module) -> AbstractContextManager:
    """Context without averaging of gradients, for all backward passes of a step but the last."""
    if isinstance(network, nn.parallel.DistributedDataParallel):
        return network.no_sync()
    return nullcontext()


def _is_started() -> bool:
    return dist.is_available() and dist.is_initialized()
