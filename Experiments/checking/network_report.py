"""Network report: paragraphs about the layers, the effective sparsity and the feasible targets of a network."""

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from functools import cached_property
from math import log10

from torch import Tensor, nn

from Experiments.checking.refusals import refusals
from Experiments.common.network import change_masks
from Layers import prunable
from Pruners import make_pruner
from Pruners.allocation import rounded
from Utils import randomness
from Utils.config.resolved import NetworkSpec
from Utils.config.target import Target
from Utils.connectivity.effective import compression_curve
from Utils.connectivity.interpreter import output_layers
from Utils.connectivity.statistics.structural_rank import structural_rank
from Utils.errors import UserError, one_line
from Utils.sparsity.measure import Measurement, compression, measure

_CURVES = ("random", "random/erk")
"""Pruners whose curves are shown, with the random scores of sample 0."""

_FEW = 4
"""Layers of a kind that are listed by name."""

_TEXT_COLUMNS = 3


@dataclass(frozen=True)
class CheckedNetwork:
    """A network with all masks open, the images that it is built for, and what several paragraphs need."""

    spec: NetworkSpec
    model: nn.Module
    shape: tuple[int, int, int]
    classes: int
    source: str
    """Why it gets these images."""
    without_effect: Mapping[str, str]
    """The reason for each flag without effect on this architecture."""

    @property
    def masks(self) -> dict[str, Tensor]:
        """The masks of the network by parameter."""
        return {name: mask for name, (_, mask) in prunable(self.model).items()}

    @property
    def size(self) -> int:
        """Number of prunable entries."""
        return sum(mask.numel() for mask in self.masks.values())

    @cached_property
    def untraced(self) -> str | None:
        """The reason why no ranks can be sent through the network; None if they can."""
        try:
            _ = self.measurement
        except UserError as error:
            return one_line(error)
        return None

    @cached_property
    def measurement(self) -> Measurement:
        """The sparsity of the unpruned network."""
        return measure(self.model, self.shape)


def heading(network: CheckedNetwork) -> str:
    """The network, its images, its sizes, and whether torch.fx traces it."""
    images = f"{'x'.join(map(str, network.shape))} images, {network.classes} classes"
    parameters = sum(parameter.numel() for parameter in network.model.parameters())
    lines = [
        f"{network.spec.architecture}: {images} ({network.source}; no data was read)",
        f"{parameters:,} parameters; {network.size:,} prunable entries in {len(network.masks)} masks",
    ]
    if network.untraced is None:
        lines.append("traced by torch.fx: yes")
    else:
        lines.append(f"traced by torch.fx: NO, {network.untraced}")
        lines.append(
            "so main.py refuses it, since each run measures effective sparsity. In Python, direct pruning works:"
        )
        lines.append("make_pruner(NAME).score(model, batches) and allocate(model, scores, sparsity, shape, 'direct')")
    return "\n".join(lines)


def layers(network: CheckedNetwork) -> str:
    """A table of the masked parameters; ineffective entries lie on no path from input to output."""
    rows: list[tuple[str, ...]] = [("mask", "kind", "shape", "entries", "ineffective")]
    if network.untraced is None:
        table = network.measurement.layers.set_index("layer")
        ineffective = {name: f"{table.loc[name, 'size'] - table.loc[name, 'kept_effective']:,}" for name in table.index}
    else:
        ineffective = dict.fromkeys(network.masks, "unknown")
    for name, mask in network.masks.items():
        kind = _kind(network.model.get_submodule(name.rpartition(".")[0]))
        rows.append((name, kind, "x".join(map(str, mask.shape)), f"{mask.numel():,}", ineffective[name]))
    return _columns(rows)


def without_masks(network: CheckedNetwork) -> str:
    """The parameters without masks, by kind, with the reason."""
    flags: dict[str, str] = {}
    for kind in ("bias", "batchnorm"):
        changed = copy.deepcopy(network.model)
        try:
            change_masks(changed, replace(network.spec, dense_classifier=False, kinds=(kind,)))
        except UserError:
            continue
        flags |= dict.fromkeys(prunable(changed), f"--prune_{kind} masks them")
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, _ in network.model.named_parameters():
        if name not in network.masks:
            layer = name.rpartition(".")[0]
            module = network.model.get_submodule(layer)
            groups[_kind(module), flags.get(name) or _reason(network, layer, module)].append(name)
    lines = [_group(network.model, *key, names) for key, names in groups.items()]
    return "\n".join(["parameters without masks", *lines]) if lines else ""


def _group(model: nn.Module, kind: str, reason: str, names: Sequence[str]) -> str:
    """A line about the parameters of all layers of a kind that have no masks for one reason."""
    count = sum(model.get_parameter(name).numel() for name in names)
    parameters = dict.fromkeys(name.rpartition(".")[2] for name in names)
    layers = list(dict.fromkeys(name.rpartition(".")[0] or "the network" for name in names))
    shown = ", ".join(layers[:_FEW]) + (f", and {len(layers) - _FEW} more" if len(layers) > _FEW else "")
    return f"  {count:,} entries, {' and '.join(parameters)} of {kind} ({shown}): {reason}"


def effective_sparsity(network: CheckedNetwork) -> str:
    """The effective sparsity, the narrowest layer and the structural rank of the unpruned network."""
    if network.untraced is not None:
        return ""
    totals, outputs = network.measurement.totals, output_layers(network.model)
    lines = [
        f"effective sparsity of the unpruned network: exact {totals['effective_sparsity']:.6g}, "
        f"graph {totals['graph_effective_sparsity']:.6g}"
    ]
    widths = {
        name: len(mask)
        for name, mask in network.masks.items()
        if mask.dim() > 1 and name.rpartition(".")[0] not in outputs
    }
    if widths:
        narrowest = min(widths, key=lambda name: widths[name])
        lines.append(f"narrowest hidden layer: {narrowest.rpartition('.')[0]}, {widths[narrowest]} units")
    lines.append(f"structural rank (vertex-disjoint paths): {structural_rank(network.model, network.shape)}")
    return "\n".join(lines)


def curves(network: CheckedNetwork) -> str:
    """Effective against direct compression at powers of ten, and the compression at which the network disconnects."""
    if network.untraced is not None:
        return ""
    kept = {10**power: Target(com_exp=Decimal(power)).kept(network.size) for power in range(len(str(network.size)))}
    rows = [("direct compression", "", "", *(f"{ratio:,}" for ratio in kept))]
    ends = []
    for name in _CURVES:
        scores = make_pruner(name).score(network.model, generator=randomness.generator(0, "random scores"))
        counts = compression_curve(network.model, scores, network.shape)
        effective = (compression(network.size, int(counts[count])) for count in kept.values())
        rows.append(
            (
                f"effective, {name}",
                "",
                "",
                *("none left" if ratio == float("inf") else f"{ratio:.4g}" for ratio in effective),
            )
        )
        ends.append(_end(name, network.size, counts))
    return "\n".join([_columns(rows), *ends])


def _end(name: str, size: int, counts: Tensor) -> str:
    """Where the last path from input to output breaks, on a curve of effective counts by the number kept."""
    disconnected = int((counts == 0).sum()) - 1
    if disconnected == size:
        return f"{name}: no path leads from input to output, even in the unpruned network"
    ratio = compression(size, disconnected)
    return f"{name}: disconnected from compression {ratio:.4g} on ({disconnected:,} weights kept)"


def targets(network: CheckedNetwork) -> str:
    """The largest compression that leaves each mask an entry, and the least effective sparsity."""
    ratio = network.size / len(network.masks)
    lines = [f"largest compression without an empty layer: {ratio:,.1f} (10^{log10(ratio):.3f})"]
    if network.untraced is None and network.measurement.totals["effective_sparsity"]:
        least = network.measurement.totals["effective_sparsity"]
        lines.append(f"--pruning_type=effective needs a --target_sparsity of at least {rounded(least, ROUND_CEILING)}")
    return "\n".join(lines)


def refused(network: CheckedNetwork) -> str:
    """What would be refused on this network."""
    lines = refusals(network.model, network.spec, network.shape, network.classes, network.without_effect)
    return "\n".join(["would be refused", *(f"  {line}" for line in lines)]) if lines else "nothing would be refused"


SECTIONS = (heading, layers, without_masks, effective_sparsity, curves, targets, refused)


def _reason(network: CheckedNetwork, layer: str, module: nn.Module) -> str:
    """Why the parameters of a module have no masks, although no flag gives them any."""
    if not isinstance(module, nn.Linear | nn.Conv2d):
        return "no masks for this kind"
    if network.spec.dense_classifier and layer in output_layers(network.model):
        return "--dense_classifier"
    return "the architecture leaves them dense"


def _kind(module: nn.Module) -> str:
    return type(module).__name__.removeprefix("Masked")


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as aligned text, names on the left and numbers on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < _TEXT_COLUMNS else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        ).rstrip()
        for row in rows
    )
