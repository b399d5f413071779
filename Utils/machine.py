"""What does a run run on?"""

import os
import platform
from functools import lru_cache
from pathlib import Path

import torch

from Utils.errors import UserError


def pick_device(name: str) -> torch.device:
    """The device of a `--device` value; raises `UserError` if there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device=cuda: PyTorch finds no CUDA device here; use --device=cpu or --device=auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


@lru_cache(maxsize=1)
def usual_threads() -> int:
    """The threads that PyTorch takes if nobody says how many: a core each, or OMP_NUM_THREADS."""
    return torch.get_num_threads()


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def total_memory() -> float:
    """Bytes of main memory; infinite where the system does not say."""
    names = getattr(os, "sysconf_names", {})
    if {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(names):
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return float("inf")


def describe_machine(device: torch.device) -> dict[str, object]:
    """What a run's seconds were measured on."""
    processor = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {"device": str(device), "processor": processor, "threads": torch.get_num_threads()}


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
