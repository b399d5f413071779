"""Size report: parameters, multiply-adds and bytes of a network before and after pruning.

Counts are exact. Bytes assume 32-bit weights in three layouts: dense; CSR, with a 32-bit column index per kept weight
and a row pointer per output unit; and a bitmask, with one bit per entry beside the kept weights. Parameters that cannot
be pruned remain dense in every layout.
"""

import math
from typing import NamedTuple

import pandas as pd

_WORD = 4
"""Bytes of a weight, a column index or a row pointer."""


class Size(NamedTuple):
    """Parameters, multiply-adds and bytes of one version of a network."""

    parameters: int
    macs: int
    dense: int
    csr: int
    bitmask: int


def sizes(layers: pd.DataFrame, parameters: int, macs: int) -> dict[str, Size]:
    """Sizes of the network `before` pruning, without pruned weights (`direct`), and without ineffective (`effective`).

    `layers` is the table `layers.csv`; `parameters` and `macs` are the totals of the unpruned network, including parts
    that cannot be pruned.
    """
    total = int(layers["size"].sum())
    other_parameters, other_macs = parameters - total, macs - int(layers["macs"].sum())
    columns = {"before": ("size", "macs"), "direct": ("kept_direct", "direct_macs")}
    columns["effective"] = ("kept_effective", "effective_macs")
    versions = {}
    for version, (weights, operations) in columns.items():
        count = int(layers[weights].sum())
        csr = sum(map(_csr_words, layers["shape"].astype(str), layers[weights].astype(int)))
        versions[version] = Size(
            count + other_parameters,
            int(layers[operations].sum()) + other_macs,
            _WORD * parameters,
            _WORD * (other_parameters + csr),
            _WORD * (other_parameters + count) + sum(math.ceil(size / 8) for size in layers["size"]),
        )
    return versions


def size_report(layers: pd.DataFrame, parameters: int, macs: int) -> str:
    """The sizes as a printable table, with the ratio of each size after pruning to the size before."""
    versions = sizes(layers, parameters, macs)
    before, direct, effective = versions["before"], versions["direct"], versions["effective"]
    rows = [
        ("parameters", before.parameters, direct.parameters, effective.parameters),
        ("multiply-adds", before.macs, direct.macs, effective.macs),
        ("bytes, dense", before.dense, direct.dense, effective.dense),
        ("bytes, CSR", before.dense, direct.csr, effective.csr),
        ("bytes, bitmask + values", before.dense, direct.bitmask, effective.bitmask),
    ]
    lines = [f"  {'':24}{'before':>16}{'direct':>16}{'':>10}{'effective':>16}{'':>10}"]
    for name, old, *new in rows:
        cells = "".join(f"{value:>16,} {_ratio(old, value):>9}" for value in new)
        lines.append(f"  {name:24}{old:>16,}{cells}".rstrip())
    return "\n".join(lines)


def _csr_words(shape: str, kept: int) -> int:
    """CSR words of a layer: its kernel is a matrix with a row per output unit; biases and scales have one row."""
    rows, *rest = shape.split("x")
    return 2 * kept + (int(rows) if rest else 1) + 1


def _ratio(old: int, new: int) -> str:
    return f"({old / new:.3g}x)" if new else "(gone)"
