"""Penalties of the scores of supermasks: terms of the loss that pull scores to 0, or away from 1/2.

A penalty is `strength` times the sum over all entries of a function of the score p and the weight w. Derivatives are
written out, because a second backward pass would cost as much as a fifth of a training step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

Elementwise = Callable[[Tensor, Tensor], Tensor]
"""Maps scores and weights of one shape to values of this shape."""


class Term(NamedTuple):
    """A function of scores and weights, and its derivative by the score."""

    value: Elementwise
    slope: Elementwise


@dataclass(frozen=True)
class ScorePenalty:
    """A penalty of all scores, with a name in `TERMS`."""

    kind: str
    strength: float
    exponents: tuple[float, float] = (1.0, 1.0)
    """Of p and of 1 - p, for `variance`."""

    @property
    def term(self) -> Term:
        """The function and its derivative."""
        return _variance(*self.exponents) if self.kind == "variance" else TERMS[self.kind]

    def value(self, scores: Sequence[Tensor], weights: Sequence[Tensor]) -> float:
        """The term of the loss."""
        pairs = zip(scores, weights, strict=True)
        return self.strength * float(sum(self.term.value(p.detach(), w).double().sum() for p, w in pairs))

    @torch.no_grad()
    def add_gradients(self, scores: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
        """Add the derivatives to the gradients of the scores."""
        # The loss gives no gradient to the scores of a layer that took no part in the forward pass.
        gradients = [torch.zeros_like(score) if score.grad is None else score.grad for score in scores]
        for score, gradient in zip(scores, gradients, strict=True):
            score.grad = gradient
        if self.kind == "l2":
            torch._foreach_add_(gradients, list(scores), alpha=2 * self.strength)
            return
        for score, weight, gradient in zip(scores, weights, gradients, strict=True):
            gradient.add_(self.term.slope(score, weight), alpha=self.strength)


def _variance(a: float, b: float) -> Term:
    """p^a (1 - p)^b, which is 0 at 0 and 1; scores outside [0, 1] count as the nearer end."""

    def value(p: Tensor, w: Tensor) -> Tensor:
        p = p.clamp(0, 1)
        return p**a * (1 - p) ** b

    def slope(p: Tensor, w: Tensor) -> Tensor:
        # A power below 1 has no finite slope at its end.
        inside = p.clamp(_EDGE if a < 1 else 0, 1 - _EDGE if b < 1 else 1)
        return (a * inside ** (a - 1) * (1 - inside) ** b - b * inside**a * (1 - inside) ** (b - 1)) * _is_valid(p)

    return Term(value, slope)


_EDGE = 1e-6
"""Distance from 0 and 1 within which slopes that grow without bound are those of this distance."""


def _is_valid(p: Tensor) -> Tensor:
    return (p >= 0) & (p <= 1)


def _entropy(p: Tensor, w: Tensor) -> Tensor:
    p = p.clamp(0, 1)
    return -torch.special.xlogy(p, p) - torch.special.xlogy(1 - p, 1 - p)


def _entropy_slope(p: Tensor, w: Tensor) -> Tensor:
    # Nothing pulls scores that are 0 or 1.
    return torch.special.logit(1 - p.clamp(_EDGE, 1 - _EDGE)) * ((p > 0) & (p < 1))


_plain = _variance(1.0, 1.0)

TERMS: dict[str, Term] = {
    "l2": Term(lambda p, w: p.square(), lambda p, w: 2 * p),
    "l1": Term(lambda p, w: p.abs(), lambda p, w: p.sign()),
    "l1-l2": Term(lambda p, w: p.abs() + p.square(), lambda p, w: p.sign() + 2 * p),
    "variance": _plain,
    "weighted-variance": Term(
        lambda p, w: w.square() * _plain.value(p, w), lambda p, w: w.square() * _plain.slope(p, w)
    ),
    "entropy": Term(_entropy, _entropy_slope),
}
"""By name: sum p^2, sum |p|, both, sum p^a (1 - p)^b, sum w^2 p (1 - p), and the binary entropy of p."""
