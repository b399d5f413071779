"""Registry of learned masks: algorithms that search for a mask by training it. Loads no PyTorch.

In results and figures they stand where the name of a pruner does; `--experiment=supermask` executes them.
"""

from typing import NamedTuple


class Learned(NamedTuple):
    """Registry entry of an algorithm."""

    label: str
    colour: str
    marker: str
    about: str
    paper: str


LEARNED: dict[str, Learned] = {
    "gem-miner": Learned(
        "Gem-Miner", "#009e73", "*", "scores above 1/2; the lowest are frozen out in steps", "Sreenivasan et al. 2022"
    ),
    "hypercube": Learned(
        "Hypercube", "#cc79a7", "D", "scores above 1/2; only a penalty makes them few", "Sreenivasan et al. 2022"
    ),
    "edge-popup": Learned(
        "Edge-popup", "#d55e00", "^", "the largest scores of each layer", "Ramanujan et al. 2020"
    ),
    "global-edge-popup": Learned(
        "Global edge-popup", "#a05195", "<", "the largest scores of all layers", "Sreenivasan et al. 2022"
    ),
    "iterative-edge-popup": Learned(
        "Iterative edge-popup", "#b79f00", ">", "the largest scores of all layers, fewer in steps",
        "Sreenivasan et al. 2022",
    ),
    "smart-ratio": Learned(
        "Smart-Ratio", "#8c564b", "P", "a random mask with fewer weights in later layers; nothing is searched",
        "Su et al. 2020",
    ),
}  # fmt: skip
