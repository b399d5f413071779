"""Conversion of any torch network to masked layers, and back to plain layers.

A layer keeps its identity: only its class changes, to its masked twin and back. Parameters, names, hooks and all
references to the layer stay the same.
"""

import copy
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from Layers.inheritance import differing_method
from Layers.masked import Masked, MaskedBatchNorm1d, MaskedBatchNorm2d, MaskedConv2d, MaskedIdentity, MaskedLinear
from Utils.errors import one_line

_TWINS: dict[type[nn.Module], type[Masked]] = {nn.Linear: MaskedLinear, nn.Conv2d: MaskedConv2d}
_NORM_TWINS: dict[type[nn.Module], type[Masked]] = {
    nn.BatchNorm1d: MaskedBatchNorm1d,
    nn.BatchNorm2d: MaskedBatchNorm2d,
}
_KINDS = {"bias": "biases", "batchnorm": "batch normalisation", "residual": "identity skips"}

_PROBE_SIZES = (32, 64, 28, 224, 299)
"""Image heights and widths to try, in order, if the first layer is a convolution."""


def mask_model(model: nn.Module, input_shape: tuple[int, ...] | None = None) -> nn.Module:
    """Add a mask to every Linear and Conv2d of a network, in place; returns the same network with the same parameters.

    A probe runs a copy of the network once in evaluation mode, and proves that each mask acts. Its input has the shape
    `input_shape`, without the batch axis, which is guessed from the first layer by default. Masked layers are skipped.
    Raises `ValueError`, and leaves the network unchanged, if a mask could not act. The message names the cause: shared
    or computed weights, a custom forward method, code that reads a weight past its layer, or an unused layer.
    """
    layers = dict(_convertible(model))
    _refuse_shared_weights(model)
    for module in layers.values():
        _make_masked(module, next(twin for plain, twin in _TWINS.items() if isinstance(module, plain)))
    try:
        _probe(model, input_shape or guess_input_shape(model))
    except Exception:
        for module in layers.values():
            _make_plain(module)
        raise
    return model


def add_masks(model: nn.Module, kind: str) -> None:
    """Make all parameters of a kind (`bias`, `batchnorm` or `residual`) prunable, in place, with all entries kept.

    `bias` covers the biases of masked layers only; `batchnorm` converts plain layers, too. Raises `ValueError` if the
    network has no parameter of this kind.
    """
    if kind not in _KINDS:
        raise ValueError(f"unknown kind {kind!r}; there are: {', '.join(_KINDS)}")
    if kind == "batchnorm":
        for module in model.modules():
            if type(module) in _NORM_TWINS and module.affine:
                _make_masked(module, _NORM_TWINS[type(module)])
    parameters = [
        (module, name)
        for module in model.modules()
        if isinstance(module, Masked)
        for name, parameter_kind in module.kinds.items()
        if parameter_kind == kind and getattr(module, name) is not None
    ]
    for module, name in parameters:
        module.add_mask(name)
    if not parameters:
        raise ValueError(f"{type(model).__name__} has no {_KINDS[kind]} that could be pruned")


def drop_masks(model: nn.Module, layers: Collection[str]) -> None:
    """Remove the masks of the named layers, in place: their parameters are no longer prunable.

    Raises `ValueError` if none of the layers has a mask.
    """
    masked = [module for module in map(model.get_submodule, layers) if isinstance(module, Masked)]
    if not masked:
        raise ValueError(f"{' and '.join(layers) or 'no layer'} has no mask to remove")
    for module in masked:
        _make_plain(module)


def unmask(model: nn.Module) -> nn.Module:
    """Convert masked layers to plain layers with zeros in place of pruned entries; returns the same network.

    The state dict has the same names as before `mask_model`. The values of pruned entries are lost; pass a copy
    (`copy.deepcopy`) to keep them.
    """
    for module in list(model.modules()):
        if isinstance(module, Masked):
            with torch.no_grad():
                for name in module.kinds:
                    mask = getattr(module, f"{name}_mask")
                    if mask is not None:
                        getattr(module, name).mul_(mask)
            _make_plain(module)
    return model


def guess_input_shape(model: nn.Module) -> tuple[int, ...]:
    """Guess an input shape, without the batch axis, from the first Linear or Conv2d, by running a copy of the network.

    Raises `ValueError` if the network has no such layer, or runs on none of the candidates.
    """
    layers = (module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d))
    first = next(layers, None)
    if first is None:
        raise ValueError(f"{type(model).__name__} has no Linear and no Conv2d layer, so there is nothing to mask")
    candidates: list[tuple[int, ...]] = [(first.in_features,), (first.in_features, 1, 1)] if isinstance(
        first, nn.Linear
    ) else [(first.in_channels, size, size) for size in _PROBE_SIZES]  # fmt: skip
    reason = ""
    for shape in candidates:
        try:
            _run(copy.deepcopy(model), shape)
        except Exception as error:  # a network may raise any type on a wrong shape
            reason = one_line(error)
        else:
            return shape
    raise ValueError(f"no input of {candidates} runs through {type(model).__name__}; give input_shape ({reason})")


def _convertible(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(f"{_label(module, name)} is compiled by torch.jit, which reads its weights past any mask")
        if not isinstance(module, tuple(_TWINS)) or isinstance(module, Masked):
            continue
        if isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params():  # type: ignore[misc]
            raise ValueError(f"{_label(module, name)} has no weights yet; run the network once after creating it")
        if "weight" not in module._parameters:
            raise ValueError(
                f"the weight of {_label(module, name)} is computed from others (a parametrization, weight or spectral "
                "norm, torch.nn.utils.prune); make it a plain parameter first"
            )
        plain = nn.Linear if isinstance(module, nn.Linear) else nn.Conv2d
        method = differing_method(type(module), plain)
        if method is not None:
            raise ValueError(f"{_label(module, name)} has a {method} of its own, which would ignore a mask")
        yield name, module


def _refuse_shared_weights(model: nn.Module) -> None:
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    for prefix, module in model.named_modules():
        if isinstance(module, tuple(_TWINS)):
            shared = names[id(module.weight)]
            if len(shared) > 1:
                weight = f"{prefix}.weight" if prefix else "weight"
                others = ", ".join(name for name in shared if name != weight)
                raise ValueError(f"{weight} is shared (tied) with {others}: it cannot have a mask of its own")


def _make_masked(module: nn.Module, twin: type[Masked]) -> None:
    module._plain_class = type(module)  # type: ignore[assignment]
    module.__class__ = twin
    module._prepare_masks()  # type: ignore[operator]


def _make_plain(module: nn.Module) -> None:
    assert isinstance(module, Masked)
    if isinstance(module, MaskedIdentity) and not bool(module.weight.all()):  # type: ignore[operator]
        _make_depthwise(module)
        return
    for name in module.kinds:
        del module._buffers[f"{name}_mask"]
    if isinstance(module, MaskedIdentity):
        del module._buffers["weight"]
    del module._float_masks
    module.__dict__.pop("_is_fixed", None)
    module.__class__ = module.__dict__.pop("_plain_class", module.plain)  # type: ignore[assignment]


def _make_depthwise(module: MaskedIdentity) -> None:
    """Replace a skip with pruned channels by a fixed depthwise convolution, with one weight of 0 or 1 per channel."""
    kept: Any = module.weight
    conv = nn.Conv2d(len(kept), len(kept), 1, groups=len(kept), bias=False, device=kept.device, dtype=kept.dtype)
    conv.weight = nn.Parameter(kept.reshape(-1, 1, 1, 1), requires_grad=False)
    module.__class__ = nn.Conv2d  # type: ignore[assignment]
    module.__dict__ = conv.__dict__


def _probe(model: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Run a copy of a network once; raise `ValueError` unless each kernel is used, and only through its mask."""
    replica = copy.deepcopy(model)
    layers = _masked_layers(replica)
    # Closures and hooks of the copy may still refer to the layers and weights of the original.
    with _Watch([*layers.items(), *_masked_layers(model).items()]) as watch:
        try:
            _run(replica, input_shape)
        except Exception as error:
            if watch.bypassed:
                raise _bypass_error(model, watch.bypassed) from error
            shape = "x".join(map(str, input_shape))
            raise ValueError(
                f"{type(model).__name__} does not run on an input of {shape}: {one_line(error)}"
            ) from error
    if watch.bypassed:
        raise _bypass_error(model, watch.bypassed)
    unused = [name for name in layers if name not in watch.acted]
    if unused:
        raise ValueError(
            f"{', '.join(unused)}: never used on an input of zeros in evaluation mode, so a mask could not act; "
            "remove unused layers from the network"
        )


@torch.no_grad()
def _run(model: nn.Module, input_shape: tuple[int, ...]) -> None:
    weight = next(model.parameters())
    model.eval()
    with torch.random.fork_rng(devices=[]):
        # Two images, because batch statistics of a single one can be undefined.
        model(torch.zeros(2, *input_shape, dtype=weight.dtype, device=weight.device))


class _Watch(TorchFunctionMode):
    """Records the kernels, or views, that operations read through a mask (`acted`) or past it (`bypassed`)."""

    def __init__(self, layers: Iterable[tuple[str, Masked]]) -> None:
        super().__init__()
        self.owners = {_storage(layer.weight): (name, layer) for name, layer in layers}  # type: ignore[arg-type]
        self.acted: set[str] = set()
        self.bypassed: dict[str, str] = {}

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        returns_tensor = any(isinstance(leaf, Tensor) for leaf in tree_leaves(result))
        for name, layer in {self.owners[_storage(leaf)] for leaf in tensors if _storage(leaf) in self.owners}:
            if any(leaf is _float_mask(layer) for leaf in tensors):
                self.acted.add(name)
            elif returns_tensor:  # a query of a shape or device reads no weight
                self.bypassed.setdefault(name, getattr(func, "__name__", str(func)))
        return result


def _masked_layers(model: nn.Module) -> dict[str, Masked]:
    return {name: module for name, module in model.named_modules() if isinstance(module, MaskedLinear | MaskedConv2d)}


def _float_mask(layer: Masked) -> Tensor | None:
    entry = layer._float_masks.get("weight")
    return entry[2] if entry is not None else None


def _storage(tensor: Tensor) -> int:
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided else 0


def _bypass_error(model: nn.Module, bypassed: dict[str, str]) -> ValueError:
    name, function = next(iter(bypassed.items()))
    owner = model.get_submodule(name.rpartition(".")[0])
    return ValueError(
        f"{name}.weight is read past its layer, by {function} in {_label(owner, name.rpartition('.')[0])}: "
        "a mask would not act (attention modules do that)"
    )


def _label(module: nn.Module, name: str) -> str:
    return f"{name} ({type(module).__name__})" if name else type(module).__name__
