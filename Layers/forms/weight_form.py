"""Weight form: how masked weights are held while a network trains."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from Layers.masked import prunable
from Layers.masks import Masks


class Parameters(NamedTuple):
    """What an optimizer sees: kernels, which decay, and all other parameters, which decay only in some recipes."""

    kernels: list[Tensor]
    others: list[Tensor]


class WeightForm:
    """How masked weights are held while a network trains: by default as the layers hold them.

    A training enters a form, calls its methods around each step, and leaves it whatever happens. A form for a network
    of its own overrides what differs.
    """

    members: ClassVar[int] = 1
    """The number of networks that train together."""
    model: nn.Module

    def enter(self, model: nn.Module) -> None:
        """Take over the weights of a model."""
        self.model = model

    def leave(self) -> None:
        """Give the weights back to the layers, with the values that pruned entries had before."""

    @contextmanager
    def holding(self, model: nn.Module) -> Iterator[None]:
        """Context in which this form holds the weights of a model."""
        self.enter(model)
        try:
            yield
        finally:
            self.leave()

    def parameters(self) -> Parameters:
        """What the optimizer sees: kernels, and the rest, such as biases and normalisation."""
        kernels = {name for name, (weight, _) in prunable(self.model).items() if weight.dim() > 1}
        parameters = Parameters([], [])
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                is_kernel = parameter.dim() > 1 or name in kernels
                (parameters.kernels if is_kernel else parameters.others).append(parameter)
        return parameters

    def before_forward(self) -> None:
        """Prepare the weights for the forward pass of a step: clamp, project."""

    def penalty(self) -> Tensor | None:
        """A term that is added to the loss of a step, but not recorded."""
        return None

    def after_backward(self) -> None:
        """Zero or gather gradients, before the step of the optimizer."""

    def after_step(self) -> None:
        """Follow a step of the optimizer."""

    def masks(self) -> Masks:
        """The masks that the forward pass applies."""
        return Masks.of(self.model)

    def state(self) -> dict[str, Tensor]:
        """Weights, buffers and masks, as the layers hold them: a state does not show which form trained."""
        return dict(self.model.state_dict())

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore a result of `state`, of any form."""
        self.model.load_state_dict(state)
