"""Independent calculations of disjoint paths and numbers of paths, for tests of the statistics."""

from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor, nn

from Layers import MaskedLinear, Masks


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers of these sizes, with biases and rectifiers."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [MaskedLinear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def matrices(masks: Masks) -> list[np.ndarray]:
    """Masks of an MLP as matrices (outputs, inputs) of zeros and ones."""
    return [mask.numpy().astype(float) for mask in masks.values()]


def all_paths(layers: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """Every path as its unit in each layer, the input included, by trying every combination."""
    sizes = [layers[0].shape[1], *(len(layer) for layer in layers)]
    return [
        path
        for path in product(*map(range, sizes))
        if all(layer[after, before] for layer, before, after in zip(layers, path, path[1:], strict=False))
    ]


def most_disjoint(paths: Sequence[tuple[int, ...]]) -> int:
    """The largest number of paths of which no two share a unit, by trying every set."""
    if not paths:
        return 0
    first, *others = paths
    apart = [path for path in others if not any(a == b for a, b in zip(first, path, strict=True))]
    with_first = 1 + most_disjoint(apart)
    return with_first if with_first == min(map(len, map(set, zip(*paths, strict=True)))) else max(
        with_first, most_disjoint(others)
    )  # fmt: skip


def vertex_flow(layers: Sequence[np.ndarray]) -> int:
    """The largest number of vertex-disjoint paths through layers of entries joined by matrices (outputs, inputs)."""
    sizes = [layers[0].shape[1], *(len(layer) for layer in layers)]
    offsets = np.cumsum([0, *sizes])
    total, rows, columns = offsets[-1], [], []
    for number, layer in enumerate(layers):
        after, before = np.nonzero(layer)
        rows.append(total + offsets[number] + before)
        columns.append(offsets[number + 1] + after)
    source, sink = 2 * total, 2 * total + 1
    rows += [np.arange(total), np.full(sizes[0], source), total + np.arange(offsets[-2], total)]
    columns += [total + np.arange(total), np.arange(sizes[0]), np.full(sizes[-1], sink)]
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(row), dtype=np.int32), (row, column)), shape=(sink + 1, sink + 1)).tocsr()
    return int(maximum_flow(graph, source, sink).flow_value)


def entry_matrices(model: nn.Sequential, masks: Masks, shape: tuple[int, ...]) -> list[np.ndarray]:
    """For each module, which entries of its output depend on which of its input, by its derivative at positive weights.

    Maximum pooling is replaced by an average.
    """
    masks.install(model)
    for name, parameter in model.named_parameters():
        parameter.data.fill_(0.0 if name.endswith("bias") else 1.0)
    found, x = [], torch.ones(1, *shape)
    for module in model:
        if isinstance(module, nn.MaxPool2d):
            module = nn.AvgPool2d(module.kernel_size, module.stride, module.padding)
        jacobian = torch.autograd.functional.jacobian(module, x)
        x = torch.ones_like(module(x))
        assert isinstance(jacobian, Tensor)
        found.append((jacobian.reshape(x.numel(), -1) != 0).numpy())
    return found
