"""Recorded activations: what the units of each masked layer do on images, read from the graph of the real network."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

from Experiments.comparison.networks import Network
from Experiments.comparison.pairs import check_same_layers
from Utils.connectivity.interpreter import node_op
from Utils.connectivity.ops.elementwise import Arithmetic, PassThrough
from Utils.connectivity.ops.pooling import AveragePool
from Utils.connectivity.ops.weight_layers import ChannelScale, Convolution
from Utils.connectivity.tracing import trace
from Utils.errors import UserError

When = Literal["before", "after"]

_PER_UNIT = (PassThrough, ChannelScale, AveragePool)
"""Operations that keep units apart: dropout, batch normalisation, and pooling with a window."""

_MOST_VALUES = 1 << 25
"""Number of activations that are held at once."""


class Recorder:
    """Runs a network on images and returns the activations of its masked layers.

    With `when="before"` they are the outputs of the layer itself. With `when="after"` they are the outputs of the
    elementwise nonlinearity that follows, if nothing but normalisation, dropout or pooling of single units lies
    between; otherwise, as for logits or before the sum of a residual block, they are those of the layer itself.
    """

    def __init__(self, network: Network, when: When = "after") -> None:
        model, graph = network.model, trace(network.model)
        modules = dict(model.named_modules(remove_duplicate=False))
        names = {id(modules[layer.name]): layer.name for layer in network.layers}
        calls: dict[str, fx.Node] = {}
        for node in graph.nodes:
            name = names.get(id(modules[str(node.target)])) if node.op == "call_module" else None
            if name is not None and calls.setdefault(name, node) is not node:
                raise UserError(f"{network.name} calls its layer {name} twice; no single activation of it exists")
        if missing := names.values() - calls.keys():
            raise UserError(f"{network.name} never calls its layer {min(missing)}; it has no activations")
        find = _nonlinearity if when == "after" else (lambda node, modules: node)
        self.nodes = {name: find(calls[name], modules) for name in names.values()}
        """The node of the traced graph at which each layer is read."""
        self.unit_axes = {
            name: 1 if isinstance(node_op(calls[name], modules), Convolution) else -1 for name in self.nodes
        }
        """The axis of the units in the value of that node."""
        self.network = network
        self._run = _Run(model, graph, {node: name for name, node in self.nodes.items()})
        self._device = next(model.parameters()).device

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> dict[str, Tensor]:
        """Activations (images, units, …positions) of each layer on normalised images.

        Raises `UserError` if one is not finite.
        """
        self._run.run(inputs.to(self._device))
        activations = {name: self._run.values.pop(name).movedim(axis, 1) for name, axis in self.unit_axes.items()}
        for name, values in activations.items():
            if not values.isfinite().all():
                reason = f"has activations in layer {name} that are not finite numbers"
                raise UserError(f"{self.network.name} {reason}; its training diverged: leave it out")
        return activations


class _Run(fx.Interpreter):
    """Runs a traced network, and keeps copies of the values of some nodes."""

    def __init__(self, model: nn.Module, graph: fx.Graph, names: Mapping[fx.Node, str]) -> None:
        super().__init__(model, graph=graph)
        self.names, self.values = names, {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.names:
            self.values[self.names[n]] = value.clone()  # a later operation may work in place
        return value


def record(
    networks: Sequence[Network], inputs: Tensor, when: When = "after", batch_size: int | None = None
) -> Iterator[list[dict[str, Tensor]]]:
    """Yield the activations of all networks on each batch of normalised images (images, channels, rows, columns).

    By default, a batch is as large as memory allows. Raises `UserError` for networks with different layers.
    """
    check_same_layers(networks)
    recorders = [Recorder(network, when) for network in networks]
    if batch_size is None:
        per_image = sum(values.numel() for values in recorders[0](inputs[:1]).values())
        batch_size = max(1, _MOST_VALUES // (per_image * len(networks)))
    for batch in inputs.split(batch_size):
        yield [recorder(batch) for recorder in recorders]


def as_samples(values: Tensor) -> Tensor:
    """Activations (images, units, …positions) as (samples, units): each position of each image is a sample."""
    return values.movedim(1, -1).reshape(-1, values.shape[1])


def _nonlinearity(node: fx.Node, modules: Mapping[str, nn.Module]) -> fx.Node:
    """The elementwise function that a layer's output goes through next, alone; the layer itself if there is none."""
    current = node
    while len(current.users) == 1:
        (current,) = current.users
        op = node_op(current, modules)
        if isinstance(op, Arithmetic):
            return current
        if not isinstance(op, _PER_UNIT):
            break
    return node
