"""Executor of a command: this process, a process pool or a Ray pool, by its flags."""

import os
import warnings
from collections.abc import Callable, Sequence

import torch

from Experiments.common.network import image_spec_of
from Utils.campaign.jobs import Executor
from Utils.config.settings import Machine, Settings
from Utils.data.dataset import read
from Utils.data.image_spec import ImageArrays
from Utils.distributed.process_group import share
from Utils.errors import UserError
from Utils.machine import cores


def executor_factory(machine: Machine, module: str, runs: Sequence[Settings]) -> Callable[[int], Executor] | None:
    """Factory of an executor for a number of runs; None: use this process.

    Raises `UserError` for flags that exclude each other.
    """
    is_ray = machine.launcher == "ray"
    for name in ("ray_address", "gpus"):
        if getattr(machine, name) is not None and not is_ray:
            raise UserError(f"--{name} has no effect without --launcher=ray")
    count = machine.workers or 1
    if share().of > 1 and (is_ray or count > 1):
        raise UserError("torchrun trains one network with several processes; it excludes --workers and --launcher=ray")
    if is_ray:
        return lambda todo: _ray_pool(machine, module, runs, todo)
    if count == 1 or len(runs) < 2:
        return None
    threads = max((settings.machine.threads or 1 for settings in runs), default=1)
    if min(count, len(runs)) * threads > cores():
        warnings.warn(
            f"{min(count, len(runs))} workers of {threads} threads each will slow each other down on {cores()} cores; "
            "use fewer --threads or --workers",
            stacklevel=2,
        )

    def process_pool(todo: int) -> Executor:
        from Utils.campaign.process_pool import ProcessPool

        return ProcessPool(module, min(count, todo))

    return process_pool


def _ray_pool(machine: Machine, module: str, runs: Sequence[Settings], todo: int) -> Executor:
    """A Ray pool for `todo` runs, with the resources of a worker and the data sets to send to it."""
    from Utils.campaign.ray_pool import RayPool, Resources, ShippedData

    threads = max(settings.machine.threads or 1 for settings in runs)
    has_gpus = machine.device == "cuda" or (machine.device == "auto" and torch.cuda.is_available())
    gpus = machine.gpus if machine.gpus is not None else float(has_gpus)
    if machine.device == "cuda" and not gpus:
        raise UserError("--device=cuda needs --gpus greater than 0")
    shipped = {}
    for settings in runs:
        run = settings.run
        assert run.data is not None
        spec = image_spec_of(run)
        key = run.data, os.path.abspath(run.path_to_data), spec
        if key not in shipped:
            images = read(run.data, run.path_to_data, spec)
            # Data streamed from disk is too large to send; each machine must have it at the same path.
            if isinstance(images, ImageArrays):
                shipped[key] = ShippedData(*key, images)
    resources = Resources(threads, gpus)
    return RayPool(module, machine.ray_address, resources, todo, machine.workers, list(shipped.values()))
