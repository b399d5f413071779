"""Paths of a channel graph: how many lead through each vertex, for networks of any depth."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from Utils.connectivity.statistics.channel_graph import ChannelGraph, Edges

_NONE = -(1 << 40)
"""The exponent of 0: lower than that of any other number, so that it never decides an alignment."""


@dataclass(frozen=True)
class BigNumbers:
    """Numbers from 0 to far beyond the range of double precision: mantissas times 2 to the exponents.

    They are exact as long as all 53 bits of the mantissa suffice.
    """

    mantissas: np.ndarray
    exponents: np.ndarray

    @staticmethod
    def of(values: np.ndarray, exponents: np.ndarray | int = 0) -> "BigNumbers":
        """The numbers values (float64) times 2 to the exponents."""
        mantissas, shifts = np.frexp(values)
        return BigNumbers(mantissas, np.where(mantissas > 0, shifts.astype(np.int64) + exponents, _NONE))

    def __getitem__(self, index: np.ndarray | slice) -> "BigNumbers":
        return BigNumbers(self.mantissas[index], self.exponents[index])

    def __setitem__(self, index: np.ndarray | slice, numbers: "BigNumbers") -> None:
        self.mantissas[index], self.exponents[index] = numbers.mantissas, numbers.exponents

    def __mul__(self, other: "BigNumbers") -> "BigNumbers":
        return BigNumbers.of(self.mantissas * other.mantissas, self.exponents + other.exponents)

    def __add__(self, other: "BigNumbers") -> "BigNumbers":
        top = np.maximum(self.exponents, other.exponents)
        return BigNumbers.of(self.aligned(top) + other.aligned(top), top)

    def aligned(self, exponents: np.ndarray | int) -> np.ndarray:
        """float64: the numbers divided by 2 to the exponents, which are at least their own."""
        return np.ldexp(self.mantissas, np.maximum(self.exponents - exponents, -2000).astype(np.int32))

    def relative(self) -> np.ndarray:
        """float64: the numbers in units of about the largest."""
        return self.aligned(self.exponents.max(initial=_NONE))

    def log_sum(self) -> float:
        """The natural logarithm of the sum; -inf if it is 0."""
        total = float(self.relative().sum())
        return math.log(total) + int(self.exponents.max()) * math.log(2) if total > 0 else -math.inf


@dataclass(frozen=True)
class PathCounts:
    """Numbers of paths for each vertex of a channel graph; a path uses one kept kernel entry of each layer."""

    arriving: BigNumbers
    """Paths from the inputs to the vertex."""
    leaving: BigNumbers
    """Paths from the vertex to the outputs."""

    @staticmethod
    def of(graph: ChannelGraph, edges: Edges) -> "PathCounts":
        """Count the paths step by step, forward and backward."""
        count = len(graph.capacities)
        matrix = edges.matrix(count)
        steps = [slice(first, last) for first, last in zip(graph.steps[1:-1], graph.steps[2:], strict=True)]
        starts, ends = (np.isin(np.arange(count), numbers).astype(float) for numbers in (graph.inputs, graph.outputs))
        return PathCounts(_accumulated(matrix, starts, steps), _accumulated(matrix.T.tocsr(), ends, steps[::-1]))

    @property
    def through(self) -> BigNumbers:
        """Paths from inputs to outputs that lead through the vertex."""
        return self.arriving * self.leaving

    def log_total(self, graph: ChannelGraph) -> float:
        """The natural logarithm of the number of paths; -inf without any."""
        return self.leaving[graph.inputs].log_sum()


def participation_width(through: BigNumbers) -> float:
    """The effective number of units among which paths divide, (sum p)^2 / sum p^2 (inverse Simpson index, Hill 1973).

    It is 1 if all paths lead through one unit, n if they divide evenly among n, and 0 without a path.
    """
    shares = through.relative()
    squares = float((shares**2).sum())
    return float(shares.sum()) ** 2 / squares if squares > 0 else 0.0


def _accumulated(matrix: csr_array, starts: np.ndarray, steps: list[slice]) -> BigNumbers:
    """The number of paths to each vertex from those with a 1 in `starts`, by the edges from columns to rows."""
    numbers = BigNumbers.of(starts)
    for step in steps:
        numbers[step] = numbers[step] + _sums(matrix, step, numbers)
    return numbers


def _sums(matrix: csr_array, step: slice, numbers: BigNumbers) -> BigNumbers:
    """For the rows of a step, the sums of the entries times the numbers of their columns."""
    bounds, columns = np.asarray(matrix.indptr)[step.start : step.stop + 1], np.asarray(matrix.indices)
    entries = slice(bounds[0], bounds[-1])
    sizes = np.diff(bounds)
    sums = BigNumbers.of(np.zeros(len(sizes)))
    if entries.start < entries.stop:
        terms = numbers[columns[entries]]
        rows = bounds[:-1][sizes > 0] - entries.start
        # Each row has its own alignment: no term that decides a sum is lost.
        top = np.maximum.reduceat(terms.exponents, rows)
        aligned = terms.aligned(np.repeat(top, sizes[sizes > 0])) * matrix.data[entries]
        sums[sizes > 0] = BigNumbers.of(np.add.reduceat(aligned, rows), top)
    return sums
