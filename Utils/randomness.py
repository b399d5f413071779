"""Random number generators: one per sample and purpose, independent of each other."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PURPOSES = (
    "initial weights", "data order", "augmentation", "prune examples", "random scores", "validation", "dropout",
    "new weights", "shuffle", "growth", "mask weights", "mask scores", "frozen entries", "rounding", "sanity checks",
    "resamples", "compared images", "null models",
)  # fmt: skip


def generator(sample: int, purpose: str) -> torch.Generator:
    """A CPU generator, seeded by the sample and the purpose alone.

    Separate purposes keep draws apart: a sample has the same initial weights and data order with every pruner.
    Raises `ValueError` for a purpose that is not in `PURPOSES`.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"unknown purpose {purpose!r}; there are: {', '.join(PURPOSES)}")
    digest = hashlib.sha256(f"{sample}:{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextmanager
def isolated(seed_source: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's global generators, from which dropout draws, and restore their states on exit."""
    seed = seed_source.initial_seed()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield
