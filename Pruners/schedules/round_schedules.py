"""How dense is a network after each of several rounds of pruning?

Each function gives the density after a fraction `progress` of the rounds: 1 at 0, the target's density at 1.
"""


def exponential(density: float, progress: float) -> float:
    """Each round keeps the same share: density^progress (Tanaka et al. 2020)."""
    return density**progress


def linear(density: float, progress: float) -> float:
    """Each round prunes the same number."""
    return 1 - (1 - density) * progress


def polynomial(density: float, progress: float) -> float:
    """Many first, few in the end: sparsity rises with 1 - (1 - progress)^3 (Zhu & Gupta 2017)."""
    return 1 - (1 - density) * (1 - (1 - progress) ** 3)
