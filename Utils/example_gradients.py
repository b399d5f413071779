"""Gradients of single examples, and the fixed statistics of normalisation that make examples independent."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

AT_ONCE = 1 << 26
"""Maximum number of entries of gradients of single examples in memory: 256 MiB of float32."""


def example_gradients(
    function: Callable[..., Tensor], weights: Mapping[str, Tensor], *examples: Tensor, at_once: int | None = None
) -> Iterator[dict[str, Tensor]]:
    """Yield the gradients of `function(weights, *example)`, a number, by name, each (examples, *shape of the weight).

    The tensors `examples` hold one example per row, images and labels for instance. `at_once` examples are in memory,
    by default as many as `AT_ONCE` entries.
    """
    size = at_once or max(1, AT_ONCE // sum(weight.numel() for weight in weights.values()))
    single = vmap(grad(function), in_dims=(None, *[0] * len(examples)), randomness="different")
    for part in zip(*(tensor.split(size) for tensor in examples), strict=True):
        yield {name: gradients.detach() for name, gradients in single(weights, *part).items()}


@torch.no_grad()
def fix_statistics(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Put a model into evaluation mode; if it was in training mode, set its statistics to the mean of these batches.

    Normalisation layers without running statistics get statistics in either case.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    untracked = [norm for norm in norms if norm.running_mean is None]
    stale = norms if model.training else untracked
    model.eval()
    for norm in stale:
        weight = next(model.parameters())
        norm.track_running_stats = True
        norm.running_mean = torch.zeros(norm.num_features, dtype=weight.dtype, device=weight.device)
        norm.running_var = torch.ones_like(norm.running_mean)
        norm.num_batches_tracked = torch.zeros((), dtype=torch.long, device=weight.device)
        norm.momentum = None  # the plain mean over batches
        norm.train()
    if stale:
        for images, _ in batches:
            model(images)
    model.eval()
