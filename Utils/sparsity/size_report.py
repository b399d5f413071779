"""How much smaller does pruning make a network?

Counts are exact; bytes are those of 32-bit weights in three layouts: dense; CSR, with a 32-bit column per kept weight
and a row pointer per output unit; and a bit per entry beside the kept weights. What cannot be pruned is kept dense.
"""

import math
from typing import NamedTuple

import pandas as pd

_WORD = 4


class Size(NamedTuple):
    """What one version of a network takes."""

    parameters: int
    macs: int
    dense: int
    csr: int
    bitmask: int


def sizes(layers: pd.DataFrame, parameters: int, macs: int) -> dict[str, Size]:
    """The sizes of the network `before`, pruned `direct`ly and `effective`ly, from its `layers.csv`.

    `parameters` and `macs` are all that the unpruned network has, prunable or not. Effectively, parameters and
    multiply-adds of ineffective weights are gone, too.
    """
    total = int(layers["size"].sum())
    other_parameters, other_macs = parameters - total, macs - int(layers["macs"].sum())
    kept = {"before": ("size", "macs"), "direct": ("kept_direct", "direct_macs")}
    kept["effective"] = ("kept_effective", "effective_macs")
    found = {}
    for version, (weights, operations) in kept.items():
        count = int(layers[weights].sum())
        csr = sum(map(_csr_words, layers["shape"].astype(str), layers[weights].astype(int)))
        found[version] = Size(
            count + other_parameters,
            int(layers[operations].sum()) + other_macs,
            _WORD * parameters,
            _WORD * (other_parameters + csr),
            _WORD * (other_parameters + count) + sum(math.ceil(size / 8) for size in layers["size"]),
        )
    return found


def size_report(layers: pd.DataFrame, parameters: int, macs: int) -> str:
    """A table of what was before, and what is left of it directly and effectively, with the ratios."""
    found = sizes(layers, parameters, macs)
    before = found["before"]
    rows = [
        ("parameters", before.parameters, found["direct"].parameters, found["effective"].parameters),
        ("multiply-adds", before.macs, found["direct"].macs, found["effective"].macs),
        ("bytes, dense", before.dense, found["direct"].dense, found["effective"].dense),
        ("bytes, CSR", before.dense, found["direct"].csr, found["effective"].csr),
        ("bytes, bitmask + values", before.dense, found["direct"].bitmask, found["effective"].bitmask),
    ]
    lines = [f"  {'':24}{'before':>16}{'direct':>16}{'':>10}{'effective':>16}{'':>10}"]
    for name, old, *new in rows:
        cells = "".join(f"{value:>16,}{_ratio(old, value):>10}" for value in new)
        lines.append(f"  {name:24}{old:>16,}{cells}".rstrip())
    return "\n".join(lines)


def _csr_words(shape: str, kept: int) -> int:
    """Words for a layer's kernel as a matrix with a row per output unit; biases and scales have one row."""
    rows, *rest = shape.split("x")
    return 2 * kept + (int(rows) if rest else 1) + 1


def _ratio(old: int, new: int) -> str:
    return f"({old / new:.3g}x)" if new else "(gone)"
