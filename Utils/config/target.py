"""Pruning target: the exact number of weights to keep for a sparsity or a compression exponent."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation, localcontext

from Utils.errors import UserError

_DIGITS = 60
"""Decimal digits of the arithmetic, enough for an exact product of a typed number and a number of weights."""


def sparsity_of(density: Decimal) -> Decimal:
    """The fraction of weights to remove, exactly, for the fraction to keep."""
    with localcontext() as context:
        context.prec = max(1, -int(density.as_tuple().exponent)) + 1
        return 1 - density


@dataclass(frozen=True)
class Target:
    """A sparsity, held as the exact decimal typed, or a compression of 10^com_exp."""

    sparsity: Decimal | None = None
    com_exp: Decimal | None = None

    def __post_init__(self) -> None:
        if (self.sparsity is None) == (self.com_exp is None):
            raise UserError("a target is either a sparsity or a compression exponent")
        if self.sparsity is not None and not (self.sparsity.is_finite() and 0 <= self.sparsity < 1):
            raise UserError(f"target sparsity must be at least 0 and less than 1, not {self.sparsity}")
        if self.com_exp is not None and not (self.com_exp.is_finite() and 0 <= self.com_exp <= 300):
            raise UserError(f"compression exponent must be between 0 and 300, not {self.com_exp}")

    @classmethod
    def of(cls, sparsity: "Target | Decimal | float | str") -> "Target":
        """A target from a sparsity in any form; a float is read as its shortest decimal representation."""
        if isinstance(sparsity, Target):
            return sparsity
        try:
            return cls(Decimal(str(sparsity)))
        except InvalidOperation:
            raise UserError(f"target sparsity must be a number, not {sparsity!r}") from None

    def part(self, step: int, of: int) -> "Target":
        """The target after `step` of `of` steps, each of which prunes the same fraction of the remaining weights."""
        if step == of:
            return self
        with localcontext() as context:
            context.prec = self._digits
            exponent = -(1 - self.sparsity).log10() if self.sparsity is not None else self.com_exp
            return Target(com_exp=max(Decimal(0), (exponent or Decimal(0)) * step / of))

    def kept(self, total: int) -> int:
        """The number of weights to keep of N = `total`: N - floor(s N) for sparsity s, ceil(N / 10^n) for com_exp n."""
        with localcontext() as context:
            context.prec = self._digits
            if self.sparsity is not None:
                return total - int((self.sparsity * total).to_integral_value(ROUND_FLOOR))
            assert self.com_exp is not None
            return int((total * self._density()).to_integral_value(ROUND_CEILING))

    @property
    def density(self) -> float:
        """The fraction of weights to keep, before rounding to whole weights."""
        with localcontext() as context:
            context.prec = self._digits
            return float(self._density())

    @property
    def _digits(self) -> int:
        return _DIGITS + (0 if self.sparsity is None else len(self.sparsity.as_tuple().digits))

    def _density(self) -> Decimal:
        return 1 - self.sparsity if self.sparsity is not None else Decimal(10) ** -(self.com_exp or Decimal(0))
