"""Tracing: the torch.fx graph of a model, with the modules of the operation table as leaves."""

import inspect
from typing import Any

import torch
from torch import fx, nn

from Utils.connectivity.ops.table import module_op
from Utils.user_code import user_code


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_op(m, module_qualified_name) is not None or super().is_leaf_module(m, module_qualified_name)


def _defaults(model: nn.Module) -> dict[str, Any]:
    """Default values of all arguments but the input, constant while tracing: code may test whether one is given."""
    _, *optional = inspect.signature(model.forward).parameters.values()
    return {
        parameter.name: parameter.default for parameter in optional if parameter.default is not inspect.Parameter.empty
    }


def trace(model: nn.Module) -> fx.Graph:
    """Trace the graph of a model, with modules of the operation table as leaves.

    Raises `UserError` if torch.fx fails, or for a layer whose forward method differs from that of its kind.
    """
    tracer = _Tracer()
    # Tracing runs the forward methods of all modules but leaves, and these may write to their buffers.
    written = [
        buffer
        for name, module in model.named_modules()
        if not tracer.is_leaf_module(module, name)
        for buffer in module.buffers(recurse=False)
    ]
    before = [buffer.clone() for buffer in written]
    try:
        # torch.fx runs the code of the network, and raises many types, depending on what it cannot trace.
        with user_code(f"{type(model).__name__} cannot be traced by torch.fx"):
            return tracer.trace(model, _defaults(model))
    finally:
        with torch.no_grad():
            for buffer, value in zip(written, before, strict=True):
                buffer.copy_(value)
