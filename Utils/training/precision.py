"""How is a network carried out fast: in which precision, which layout of memory, compiled or not?"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from Utils.config.settings import Machine
from Utils.errors import UserError

Forward = Callable[[Tensor], Tensor]
"""From images to outputs."""


@dataclass(frozen=True)
class Compute:
    """Calls a network as `--precision` and `--compile` ask for."""

    model: nn.Module
    machine: Machine

    def __post_init__(self) -> None:
        # Convolutions are faster on either processor where the channels of a pixel lie side by side.
        if any(isinstance(module, nn.Conv2d) for module in self.model.modules()):
            self.model.to(memory_format=torch.channels_last)

    def forward(self, network: nn.Module | None = None) -> Forward:
        """A function from images to outputs in single precision.

        `network` is the model, maybe wrapped, for batches of one size only: it is compiled if so wished.
        """
        called: Forward = network or self.model
        if network is not None and self.machine.compile:
            called = torch.compile(network)  # type: ignore[assignment]
        has_planes = next((p.is_contiguous() for p in self.model.parameters() if p.dim() == 4), True) is False

        def call(images: Tensor) -> Tensor:
            if has_planes:
                images = images.contiguous(memory_format=torch.channels_last)
            with self._precision(images):
                return called(images).float()

        return call if self.machine.precision == "bf16" or has_planes else called

    @staticmethod
    def explained(error: Exception) -> UserError | None:
        """What a network that cannot be compiled means to the user; None for other errors."""
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            return None
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return UserError(f"--compile failed ({reason}); it needs a C++ compiler (on a GPU, Triton): run without it")

    def restore(self) -> None:
        """Give parameters and buffers their usual layout back."""
        self.model.to(memory_format=torch.contiguous_format)

    def _precision(self, images: Tensor) -> AbstractContextManager:
        if self.machine.precision == "fp32":
            return nullcontext()
        return torch.autocast(images.device.type, torch.bfloat16)
