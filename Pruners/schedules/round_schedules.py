"""Round schedules: density of a network after each round of pruning.

Each function returns the density after a fraction `progress` of the rounds: 1 at progress 0, `density` at progress 1.
"""


def exponential(density: float, progress: float) -> float:
    """Each round keeps the same share of the remaining weights: density^progress (Tanaka et al. 2020)."""
    return density**progress


def linear(density: float, progress: float) -> float:
    """Each round prunes the same number of weights."""
    return 1 - (1 - density) * progress


def polynomial(density: float, progress: float) -> float:
    """Early rounds prune most: sparsity rises with 1 - (1 - progress)^3 (Zhu & Gupta 2017)."""
    return 1 - (1 - density) * (1 - (1 - progress) ** 3)
