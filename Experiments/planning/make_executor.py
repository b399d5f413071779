"""Executor of a command: this process, a process pool or a Ray pool, by its flags."""

import os
import warnings
from collections.abc import Sequence

import torch

from Experiments.common.network import image_spec_of
from Utils.campaign.campaign import MakeExecutor
from Utils.campaign.executors.process_group import GroupExecutor
from Utils.campaign.jobs import Executor
from Utils.campaign.plan import PlannedRun
from Utils.campaign.worker import InProcessExecutor
from Utils.config.groups import Machine
from Utils.data.dataset import read
from Utils.data.image_spec import ImageArrays
from Utils.distributed.process_group import share
from Utils.errors import UserError
from Utils.machine import cores


def executor_of(machine: Machine) -> MakeExecutor:
    """What makes the executor of unfinished runs. Raises `UserError` for flags that exclude each other."""
    is_ray, count = machine.launcher == "ray", machine.workers or 1
    for name in ("ray_address", "gpus"):
        if getattr(machine, name) is not None and not is_ray:
            raise UserError(f"--{name} has no effect without --launcher=ray")
    if share().of > 1:
        if is_ray or count > 1:
            reason = "it excludes --workers and --launcher=ray"
            raise UserError(f"torchrun trains one network with several processes; {reason}")
        return lambda runs: GroupExecutor()
    if is_ray:
        return lambda runs: _ray_pool(machine, runs)
    return lambda runs: InProcessExecutor() if min(count, len(runs)) < 2 else _process_pool(count, runs)


def _process_pool(count: int, runs: Sequence[PlannedRun]) -> Executor:
    """A process pool for unfinished runs; warns if its workers have more threads than the machine has cores."""
    from Utils.campaign.executors.process_pool import ProcessPool

    count = min(count, len(runs))
    threads = max(run.settings.machine.threads or 1 for run in runs)
    if count * threads > cores():
        warnings.warn(
            f"{count} workers of {threads} threads each will slow each other down on {cores()} cores; "
            "use fewer --threads or --workers",
            stacklevel=2,
        )
    return ProcessPool(count, sorted({run.implementation.partition(":")[0] for run in runs}))


def _ray_pool(machine: Machine, runs: Sequence[PlannedRun]) -> Executor:
    """A Ray pool for unfinished runs, with the resources of a worker and the data sets to send to it."""
    from Utils.campaign.executors.ray_pool import ImageKey, RayPool, Resources

    threads = max(run.settings.machine.threads or 1 for run in runs)
    has_gpus = machine.device == "cuda" or (machine.device == "auto" and torch.cuda.is_available())
    gpus = machine.gpus if machine.gpus is not None else float(has_gpus)
    if machine.device == "cuda" and not gpus:
        raise UserError("--device=cuda needs --gpus greater than 0")
    images: dict[ImageKey, ImageArrays] = {}
    for data in (run.settings.data_spec for run in runs):
        key = data.name, os.path.abspath(data.path), image_spec_of(data)
        content = None if key in images else read(data.name, data.path, key[2])
        # Data streamed from disk is too large to send; each machine must have it at the same path.
        if isinstance(content, ImageArrays):
            images[key] = content
    return RayPool(machine.ray_address, Resources(threads, gpus), len(runs), machine.workers, images)
