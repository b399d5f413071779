"""Process group: the processes that train one network together, and values that all of them agree on.

    torchrun --nproc_per_node=8 main.py --architecture=imagenet/resnet50 --data=imagenet

Each process computes its share of every batch. Gradients and batch statistics are those of the whole batch
(`synchronised_layers.py`), so the result equals that of one process up to the order of sums. Only the first process
prunes, reads, writes and prints. Without torchrun there is only the first.
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

from Utils.errors import UserError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Share:
    """Which part of each batch is this process's."""

    number: int = 0
    of: int = 1

    def positions(self, count: int, parts: int = 1) -> list[range]:
        """The places in a batch of `count` that are this process's, in each of the parts that it is computed in."""
        bounds = [count * part // parts for part in range(parts + 1)]
        mine = [
            [start + (end - start) * number // self.of for number in (self.number, self.number + 1)]
            for start, end in pairwise(bounds)
        ]
        return [range(start, end) for start, end in mine]


def share() -> Share:
    """This process's share."""
    return Share(dist.get_rank(), dist.get_world_size()) if _is_started() else Share()


def is_first() -> bool:
    """Whether this process is the one that writes and talks."""
    return share().number == 0


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Meet the other processes that torchrun started, if it did; `device` is a value of `--device`."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or _is_started():
        yield
        return
    has_gpus = device != "cpu" and torch.cuda.is_available()
    if has_gpus:
        wanted, count = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if wanted > count:
            raise UserError(f"--nproc_per_node={wanted}: this machine has {count} GPUs; give {count}, or --device=cpu")
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # 1 x 1 kernels have the strides of either layout.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    # Objects go over gloo, gradients over the fastest there is.
    dist.init_process_group("cpu:gloo,cuda:nccl" if has_gpus else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def agree(make: Callable[[], Result]) -> Result:
    """What the first process makes, in all of them; an error that it meets is raised in all. Tensors are on the CPU."""
    if not _is_started():
        return make()
    found: list[Any] = [None, None]
    if is_first():
        try:
            found[0] = make()
        except Exception as error:
            found[1] = _sendable(error)
    dist.broadcast_object_list(found, src=0, device=torch.device("cpu"))
    if found[1] is not None:
        raise found[1]
    return found[0]


def first_alone(make: Callable[[], Result]) -> Result:
    """What each process makes, the first one before all others, so that they find the files that it left."""
    if not _is_started():
        return make()
    made: list[Result] = []
    agree(lambda: made.append(make()))
    return made[0] if made else make()


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def total(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes."""
    if not _is_started():
        return values
    summed = values.clone()
    dist.all_reduce(summed)
    return summed


def gathered(value: Result) -> list[Result]:
    """What each process has, in order."""
    if not _is_started():
        return [value]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def parallel(model: nn.Module) -> nn.Module:
    """The network as all processes train it: gradients are averaged over them."""
    if not _is_started():
        return model
    devices = [next(model.parameters()).device] if next(model.parameters()).is_cuda else None
    # Buffers are equal in all processes, and sending masks would have each layer convert them again.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*broadcast_buffers")
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)


def without_averaging(network: nn.Module) -> AbstractContextManager:
    """For all but the last backward pass of a step."""
    if isinstance(network, nn.parallel.DistributedDataParallel):
        return network.no_sync()
    return nullcontext()


def _is_started() -> bool:
    return dist.is_available() and dist.is_initialized()
