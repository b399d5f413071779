"""Batch statistics at test time, for networks with running statistics."""

from torch import nn


def use_batch_statistics(model: nn.Module) -> None:
    """Remove the running statistics of all batch normalisation layers, in place."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
