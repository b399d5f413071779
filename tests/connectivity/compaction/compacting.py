"""Checks of compaction: networks unlike their initial ones, and the comparison of outputs."""

import copy

import pandas as pd
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from Layers.masked import Masked
from Utils.connectivity.compaction import compact


@torch.no_grad()
def unlike_the_initial(model: nn.Module, seed: int) -> nn.Module:
    """The network in double precision, with random biases, and with normalisation by random statistics."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)  # type: ignore[union-attr]
        if isinstance(module, nn.Linear | nn.Conv2d | _BatchNorm) and module.bias is not None:
            module.bias.normal_(generator=generator)
    return model


def check(model: nn.Module, shape: tuple[int, ...], seed: int = 0) -> pd.DataFrame:
    """Compact a network, and compare outputs on random batches of two sizes; returns the table of layers."""
    before = copy.deepcopy(model.state_dict())
    compacted = compact(model, shape)
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items()) and before.keys() == after.keys()
    assert not any(isinstance(module, Masked) for module in compacted.model.modules())
    assert all(type(module).__module__.startswith(("torch.", "torchvision."))
               for name, module in compacted.model.named_modules() if name)  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    for count in (1, 5):
        images = torch.randn(count, *shape, generator=generator, dtype=torch.float64) * 3
        with torch.no_grad():
            own, small = model(images), compacted.model(images)
        assert small.shape == own.shape
        assert (small - own).abs().max() <= 1e-10 * max(1.0, float(own.abs().max()))
    return compacted.layers
