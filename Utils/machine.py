"""Machine of a run: device, cores, memory and threads."""

import os
import platform
from functools import lru_cache
from pathlib import Path

import torch

from Utils.errors import UserError


def pick_device(name: str) -> torch.device:
    """The device for a value of `--device`; raises `UserError` if the machine has no such device."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device=cuda: PyTorch finds no CUDA device here; use --device=cpu or --device=auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


@lru_cache(maxsize=1)
def usual_threads() -> int:
    """PyTorch's default number of threads: one per core, or OMP_NUM_THREADS.

    The first call is cached: call it before a run sets another number.
    """
    return torch.get_num_threads()


def cores() -> int:
    """The number of processor cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def total_memory() -> float:
    """Main memory in bytes; infinite if the operating system does not report it."""
    names = getattr(os, "sysconf_names", {})
    if {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(names):
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return float("inf")


def describe_machine(device: torch.device) -> dict[str, object]:
    """Device, processor and threads, recorded because a run's times depend on them."""
    processor = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {"device": str(device), "processor": processor, "threads": torch.get_num_threads()}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
