"""Supermask: a weight form that trains a score per entry of the masks, while weights and everything else stay frozen.

The masks of the layers are the rounded scores at any time, so whoever reads a mask reads the one that a forward pass
applies. Gradients pass straight through the rounding: dL/dscore = dL/d(weight x mask) x weight, and 0 where an entry is
frozen out. Zhou et al. 2019 ("Deconstructing lottery tickets"); Ramanujan et al. 2020 ("What's hidden in a randomly
weighted neural network?"); Sreenivasan et al. 2022 ("Rare gems").
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from Layers.forms.rounding import Rounding
from Layers.forms.score_penalties import ScorePenalty
from Layers.forms.weight_form import Parameters, WeightForm
from Layers.masked import Masked, require_prunable
from Layers.masks import Masks


class _StraightThrough(torch.autograd.Function):
    """The product of a weight and its mask, as a function of the score with gradient dL/dproduct x slope."""

    @staticmethod
    def forward(ctx: Any, score: Tensor, product: Tensor, slope: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(slope)
        return product.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (slope,) = ctx.saved_tensors
        return gradient * slope, None, None


@dataclass
class _Entry:
    """A masked parameter of a layer, with its score; all tensors have the shape of the weight."""

    layer: Masked
    name: str
    weight: Tensor
    mask: Tensor
    score: Tensor
    free: Tensor
    """1 where the mask may keep an entry, 0 where the entry is frozen out."""
    factor: Tensor
    """The mask in numbers, or the scores of what it keeps."""
    product: Tensor
    """weight x factor, which the forward pass uses."""
    slope: Tensor
    """dL/dscore = dL/dproduct x slope."""


class Supermask(WeightForm):
    """Masks that are learnt: the scores train, and weights, biases and normalisation do not."""

    def __init__(self, scores: Mapping[str, Tensor], rounding: Rounding, penalty: ScorePenalty | None = None) -> None:
        """Start from `scores` of all masked parameters, by name; they and `free` are the last ones after leaving."""
        self.scores, self.rounding, self.score_penalty = dict(scores), rounding, penalty
        self.free: Masks | None = None
        """Entries that are not frozen out: what the masks keep at the start, until `freeze`."""

    @torch.no_grad()
    def enter(self, model: nn.Module) -> None:
        """Freeze all parameters, and give each masked one a score that trains, in the state dict of its layer.

        Raises `ValueError`, and leaves the model unchanged, unless the scores have the names and shapes of its masks.
        """
        pairs = require_prunable(model)
        self._check_scores({name: tuple(weight.shape) for name, (weight, _) in pairs.items()})
        super().enter(model)
        self.trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in self.trainable:
            parameter.requires_grad_(False)
        self.free = self.free or Masks.of(model)
        self.entries = {name: self._entry(name, *pair) for name, pair in pairs.items()}
        self.round()
        self._set_slopes()

    def _check_scores(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        own = {name: tuple(score.shape) for name, score in self.scores.items()}
        for name in {**shapes, **own}:
            score, mask = own.get(name, "none"), shapes.get(name, "none")
            if score != mask:
                raise ValueError(f"scores of another network: {name!r} has a score of shape {score}, a mask of {mask}")

    def _entry(self, full_name: str, weight: Tensor, mask: Tensor) -> _Entry:
        """Register the score and the free entries of a parameter, in the memory layout of its weight."""
        assert self.free is not None
        prefix, _, name = full_name.rpartition(".")
        layer = self.model.get_submodule(prefix)
        assert isinstance(layer, Masked)
        tensors = [torch.empty_like(weight, requires_grad=False) for _ in range(5)]
        score, free = nn.Parameter(tensors[0].copy_(self.scores[full_name])), tensors[1].copy_(self.free[full_name])
        layer.register_parameter(f"{name}_score", score)
        layer.register_buffer(f"{name}_free", free)
        entry = _Entry(layer, name, weight.detach(), mask, score, free, *tensors[2:])
        layer._products = {**layer._products, name: partial(self._product, entry)}
        return entry

    @staticmethod
    def _product(entry: _Entry) -> Tensor:
        return _StraightThrough.apply(entry.score, entry.product, entry.slope)  # type: ignore[return-value]

    def leave(self) -> None:
        """Take the scores away; the masks stay as they were rounded."""
        self.scores, self.free = self.current_scores(), self.current_free()
        for entry in self.entries.values():
            delattr(entry.layer, f"{entry.name}_score")
            delattr(entry.layer, f"{entry.name}_free")
            entry.layer._products = {}
        for parameter in self.trainable:
            parameter.requires_grad_(True)

    def current_scores(self) -> dict[str, Tensor]:
        """The scores at this moment of the training, by name."""
        return {name: entry.score.detach() for name, entry in self.entries.items()}

    def current_values(self) -> dict[str, Tensor]:
        """The scores as they count where they are compared: clamped, if the rounding rule clamps."""
        return {name: self.rounding.value(entry.score.detach()) for name, entry in self.entries.items()}

    def current_free(self) -> Masks:
        """The entries that are not frozen out, at this moment of the training."""
        return Masks({name: entry.free > 0 for name, entry in self.entries.items()})

    def parameters(self) -> Parameters:
        """The scores, all of which decay."""
        return Parameters([entry.score for entry in self.entries.values()], [])

    def after_backward(self) -> None:
        """Add the gradients of the penalty of all scores, those of frozen entries included."""
        if self.score_penalty is not None:
            self.score_penalty.add_gradients(*self._scores_and_weights())

    def penalty_value(self) -> float:
        """The penalty that is added to the loss, at this moment of the training; 0 without one."""
        return 0.0 if self.score_penalty is None else self.score_penalty.value(*self._scores_and_weights())

    def _scores_and_weights(self) -> tuple[list[Tensor], list[Tensor]]:
        entries = self.entries.values()
        return [entry.score for entry in entries], [entry.weight for entry in entries]

    @torch.no_grad()
    def after_step(self) -> None:
        """Project the scores, and round them."""
        self.round()
        if self.rounding.has_changing_slopes:
            self._set_slopes()

    @torch.no_grad()
    def round(self) -> None:
        """Project the scores, and write the masks that they say now."""
        entries = self.entries.values()
        for entry in entries:
            self.rounding.project(entry.score)
        scores, free, factors = ([getattr(entry, name) for entry in entries] for name in ("score", "free", "factor"))
        self.rounding.round(scores, free, factors)
        for entry in entries:
            entry.mask.copy_(entry.factor)
            torch.mul(entry.weight, entry.factor, out=entry.product)

    @contextmanager
    def rounded(self) -> Iterator[None]:
        """Context in which a soft mask is rounded."""
        if not self.rounding.is_soft:
            yield
            return
        self.rounding.is_soft = False
        try:
            self.round()
            yield
        finally:
            self.rounding.is_soft = True
            self.round()

    def _set_slopes(self) -> None:
        for entry in self.entries.values():
            self.rounding.slope(entry.score, entry.weight, entry.free, entry.slope)

    @torch.no_grad()
    def freeze(self, free: Mapping[str, Tensor]) -> None:
        """Freeze out all entries but those of `free`, bool by name, and round again."""
        for name, entry in self.entries.items():
            entry.free.mul_(free[name].to(entry.free.device))
        self.round()
        self._set_slopes()

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore a result of `state`, and round its scores."""
        super().load(state)
        self.round()
        self._set_slopes()
