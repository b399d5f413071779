"""Fast execution of a network: numerical precision, memory layout and compilation."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from Utils.config.groups import Machine
from Utils.errors import UserError, one_line

Forward = Callable[[Tensor], Tensor]
"""Maps images to outputs."""


@dataclass(frozen=True)
class Compute:
    """Executes a network with the settings of `--precision` and `--compile`; a context that restores its layout.

    Raises `UserError` for a failed compilation.
    """

    model: nn.Module
    machine: Machine

    def __post_init__(self) -> None:
        # On CPUs and GPUs, convolutions are faster if the channels of a pixel are adjacent in memory.
        if any(isinstance(module, nn.Conv2d) for module in self.model.modules()):
            self.model.to(memory_format=torch.channels_last)

    def forward(self, network: nn.Module | None = None) -> Forward:
        """Create a function from images to outputs in single precision.

        `network` is the model, possibly wrapped, for batches of a single size: `--compile` compiles it. Without
        `network`, the function calls the model uncompiled, for batches of any size.
        """
        function: Forward = network or self.model
        if network is not None and self.machine.compile:
            function = torch.compile(network)  # type: ignore[assignment]
        is_channels_last = next((p.is_contiguous() for p in self.model.parameters() if p.dim() == 4), True) is False

        def call(images: Tensor) -> Tensor:
            if is_channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            with self._precision(images):
                return function(images).float()

        return call if self.machine.precision == "bf16" or is_channels_last else function

    def __enter__(self) -> "Compute":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Return parameters and buffers to the contiguous layout."""
        self.model.to(memory_format=torch.contiguous_format)
        if error is not None and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise UserError(
                f"--compile failed ({one_line(error)}); it needs a C++ compiler (on a GPU, Triton): run without it"
            ) from error

    def _precision(self, images: Tensor) -> AbstractContextManager:
        if self.machine.precision == "fp32":
            return nullcontext()
        return torch.autocast(images.device.type, torch.bfloat16)
