"""Rewriting: the graph of the smaller network, node by node, from a plan."""

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from Utils.connectivity.compaction.plan import Plan
from Utils.connectivity.ops.rewrite import CannotMoveError, Rewrite, chosen


class CannotRewriteError(Exception):
    """A node whose input has to stay as it is."""

    def __init__(self, node: fx.Node) -> None:
        super().__init__(node.name)
        self.node = node


def rewritten(plan: Plan) -> fx.GraphModule:
    """The smaller network, in double precision and evaluation mode; raises `CannotRewriteError`."""
    return _Rewriter(plan).run()


class _Rewriter:
    """A new graph under construction."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.old = plan, plan.graph
        self.graph, self.root = fx.Graph(), nn.Module()
        self.new: dict[fx.Node, fx.Node] = {}
        self.small: dict[fx.Node, Any] = {}
        """By new node: tensors of the right shape for one image, without memory, or numbers."""
        self.constants: set[fx.Node] = set()
        self.batch: fx.Node | None = None

    def run(self) -> fx.GraphModule:
        """Add every node."""
        for node in self.old.nodes:
            self.new[node] = new = self._added(node)
            if node.op != "output":
                self.small[new] = self._small(node, new)
            if self.batch is None and node.op == "placeholder":
                self.batch = self.graph.call_method("size", (new, 0))
                self.small[self.batch] = 1
        self.graph.lint()
        network = fx.GraphModule(self.root, self.graph, "Compacted")
        _drop_unused(network)
        return network.eval()

    def _added(self, node: fx.Node) -> fx.Node:
        old = self.old
        if node.op == "output":
            return self.graph.node_copy(node, self.new.__getitem__)
        if node.op == "placeholder":
            return self.graph.placeholder(node.name, None, *node.args[:1])
        if node.op == "get_attr":
            return self._attribute(node)
        if not old.sources(node):
            return self._call(node.op, node.target, *map_arg((node.args, node.kwargs), self.new.__getitem__))
        if isinstance(old.reach.numbers.get(node), Tensor) and not self._varies(node):
            return self._constant(node)
        if not old.parts(old.reach.numbers, node):  # a query of a shape
            return self._call(node.op, node.target, *map_arg((node.args, node.kwargs), self.new.__getitem__))
        try:
            return old.op(node).compact(self._rewrite(node))
        except CannotMoveError as error:
            raise CannotRewriteError(node) from error

    def _varies(self, node: fx.Node) -> bool:
        """Whether something that stays of a value depends on the input and matters to an output."""
        (varies,), (matters,), (axes,) = self.old.varies(node), self.old.matters(node), self.plan.axes[node]
        return bool(chosen(varies & matters, axes).any())

    def _constant(self, node: fx.Node) -> fx.Node:
        """What stays of a value that is the same for all inputs where it matters, once for each image."""
        value = chosen(self.old.values[node], self.plan.axes[node][0])
        stored = self._buffer(f"{node.name}_constant", value)
        new = self.graph.call_method("expand", (stored, self.batch, *[-1] * (value.dim() - 1)))
        self.constants.add(new)
        return new

    def _attribute(self, node: fx.Node) -> fx.Node:
        """What stays of a parameter or buffer."""
        value = self.old.values[node]
        if not isinstance(value, Tensor):
            return self.graph.get_attr(str(node.target))
        return self._buffer(str(node.target).replace(".", "_"), chosen(value.detach(), self.plan.axes[node][0]))

    def _buffer(self, name: str, value: Tensor) -> fx.Node:
        name = self._free(name)
        self.root.register_buffer(name, value)
        new = self.graph.get_attr(name)
        self.small[new] = value.to("meta")
        return new

    def _free(self, name: str) -> str:
        """A name that no other module or buffer has."""
        name = name.replace(".", "_")
        while hasattr(self.root, name):
            name += "_"
        return name

    def _rewrite(self, node: fx.Node) -> Rewrite:
        mapped: Any = map_arg((node.args, node.kwargs), self.new.__getitem__)
        (args, kwargs), sources = mapped, self.old.sources(node)
        return Rewrite(
            node, self.old.modules[str(node.target)] if node.op == "call_module" else None, args, kwargs,
            [self.plan.axes[source] for source in sources], self.plan.axes[node], self.plan.shifts.get(node),
            [self.old.values[source] for source in sources], self._concrete,
            lambda module: self._module(node, module, args, kwargs), self._call,
            lambda axis, indices: self._selection(node, args[0], axis, indices), self.constants.__contains__,
        )  # fmt: skip

    def _concrete(self, args: Any, is_new: bool) -> Any:
        return map_arg(args, self.small.__getitem__ if is_new else self.old.values.__getitem__)

    def _module(self, node: fx.Node, module: nn.Module, args: tuple, kwargs: dict) -> fx.Node:
        name = self._free(str(node.target))
        self.root.add_module(name, module)
        return self.graph.call_module(name, args, kwargs)

    def _call(self, kind: str, target: Any, args: tuple, kwargs: dict) -> fx.Node:
        if kind != "call_module":
            return self.graph.create_node(kind, target, args, kwargs)
        name = str(target).replace(".", "_")
        if not hasattr(self.root, name):
            self.root.add_module(name, self.old.modules[str(target)])
        return self.graph.call_module(name, args, kwargs)

    def _selection(self, node: fx.Node, source: fx.Node, axis: int, indices: Tensor) -> fx.Node:
        if torch.equal(indices, torch.arange(self.small[source].shape[axis])):
            return source
        stored = self._buffer(f"{node.name}_indices", indices)
        return self.graph.call_function(torch.index_select, (source, axis, stored))

    def _small(self, node: fx.Node, new: fx.Node) -> Any:
        """What stands for the value of a node when arguments are computed."""
        if not self.old.parts(self.old.reach.numbers, node):
            if node.op == "placeholder" or node.op == "get_attr":
                return self.old.values[node]
            args, kwargs = map_arg((new.args, new.kwargs), self.small.__getitem__)
            if node.op == "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
            assert callable(node.target)
            return node.target(*args, **kwargs)
        parts = [torch.empty(self.plan.size(node, place), device="meta") for place in range(len(self.plan.axes[node]))]
        return parts[0] if isinstance(self.old.reach.numbers[node], Tensor) else parts


def _drop_unused(network: fx.GraphModule) -> None:
    """Remove nodes whose value nobody reads, and modules and buffers that no node names; calls in place stay."""
    for node in reversed(list(network.graph.nodes)):
        is_in_place = node.op == "call_method" and str(node.target).endswith("_")
        if not node.users and node.op not in ("output", "placeholder") and not is_in_place:
            network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    named = {str(node.target) for node in network.graph.nodes if node.op == "get_attr"}
    for name in [name for name, _ in network.named_buffers(recurse=False) if name not in named]:
        delattr(network, name)
    network.recompile()
