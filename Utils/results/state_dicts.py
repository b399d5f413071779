"""State dicts of checkpoint files: reads their weights, bakes masks in, and loads them into a network.

A checkpoint is a state dict, saved as safetensors or by PyTorch, alone or inside a training checkpoint, or the weights
of a stored run. No file is read in a way that could run code.
"""

import math
import pickle
import reprlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from Layers import state_without_masks
from Utils.errors import UserError
from Utils.files import is_file, is_folder, reading
from Utils.machine import total_memory
from Utils.results.digests import check_source, sha256_of
from Utils.results.folders import find_run

_INSIDE = (
    "state_dict", "model_state_dict", "model", "net", "module", "weights", "params",
    "state_dict_ema", "model_ema", "ema",
)  # fmt: skip
"""Names of the entry that holds the state dict in training checkpoints; the first counts, moving averages last."""

_LONGEST_NAME = 1000
"""Letters of the longest name of a tensor that is read; those of real networks have less than 200."""


def find(place: str, results: str, what: str = "weights") -> Path:
    """The file of weights (or of masks) at a place: a file, a run's folder, or a run's name in a results folder.

    Raises `UserError`, which names the flag `--weights_from` (or `--masks_from`), if there is no such file, or if
    several runs have the name, or if the file is one of a run and damaged.
    """
    path, flag = Path(place), f"--{what}_from={place}"
    if is_file(path):
        check_source(path)
        return path
    folders = [path] if is_folder(path) else find_run(results, place)
    if not folders:
        raise UserError(f"{flag} is not a file, a run's folder, or the name of a run in {results}")
    if len(folders) > 1:
        raise UserError(f"{flag} is the name of several runs: {', '.join(map(str, folders))}")
    file = folders[0] / f"{what}.safetensors"
    if not is_file(file):
        raise UserError(f"{flag}: {folders[0]} has no {file.name}: the run failed, or the folder is not that of a run")
    check_source(file)
    return file


def content_key(path: Path) -> str:
    """A hash of a file's content: ten hexadecimal digits. Raises `UserError` if it cannot be read."""
    return sha256_of(path)[:10]


@lru_cache(maxsize=1)
def read(path: Path, own: frozenset[str] = frozenset()) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, multiplied by their masks; raises `UserError` for any other file.

    `own` are the names of the network's weights and buffers. They are no masks whatever they are called, and they tell
    the prefix that DataParallel, torch.compile, Lightning or an average of weights has put before each name.
    """
    return _without_prefix(_bake(_state_dict(path), own), own, path)


def load(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load all weights of a checkpoint into a network, in the network's precision; its masks remain unchanged.

    Raises `UserError`, which begins with `source`, for missing or unexpected names, other shapes or invalid values.
    """
    state = state_without_masks(model)
    # Networks without running statistics have no batch count, nor do those of some versions of PyTorch.
    optional = {name for name in state.keys() ^ weights.keys() if name.endswith("num_batches_tracked")}
    missing = sorted(state.keys() - weights.keys() - optional)
    unexpected = sorted(weights.keys() - state.keys() - optional)
    if missing or unexpected:
        parts = [f"lacks {_few(missing)}" * bool(missing), f"has unexpected {_few(unexpected)}" * bool(unexpected)]
        raise UserError(f"{source} does not fit the network: it {' and '.join(filter(None, parts))}")
    loaded = {name: _converted(name, weights[name], state[name], source) for name in state.keys() & weights.keys()}
    model.load_state_dict({**model.state_dict(), **loaded})


def _converted(name: str, weight: Tensor, own: Tensor, source: str) -> Tensor:
    """A weight of a checkpoint in the shape and precision of the network's own; raises `UserError` if it differs."""
    if own.shape != weight.shape:
        shapes = f"{tuple(weight.shape)} there, {tuple(own.shape)} here"
        raise UserError(f"{source} does not fit the network: {name} has shape {shapes}")
    if own.is_floating_point() and not weight.is_floating_point():
        raise UserError(f"{source}: {name} holds {weight.dtype}, not floating-point numbers")
    # PyTorch cannot test floating-point numbers of 8 bits.
    if not bool(torch.isfinite(weight.float() if weight.element_size() == 1 else weight).all()):
        raise UserError(f"{source} is damaged: {name} has entries that are not finite")
    converted = weight.to(own.dtype)
    if not bool(torch.isfinite(converted).all()):
        raise UserError(f"{source} does not fit the network: {name} has entries beyond the range of {own.dtype}")
    return converted


def _state_dict(path: Path) -> dict[str, Tensor]:
    is_safetensors = path.suffix == ".safetensors"
    with reading(path, "a safetensors file" if is_safetensors else "a PyTorch checkpoint"):
        content: Any = load_file(path) if is_safetensors else _from_torch(path)
        if not isinstance(content, Mapping):
            raise UserError(f"{path} holds {type(content).__name__}, not a state dict; save model.state_dict() instead")
        for _ in _INSIDE:  # not further: a dict may contain itself
            content = next((content[name] for name in _INSIDE if isinstance(content.get(name), Mapping)), content)
        tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
        if not tensors:
            raise UserError(f"{path} holds no named tensors, so it is not a state dict (found: {_few(content)})")
        _check_tensors(tensors, path)
        return {name: value.detach().to_dense() for name, value in tensors.items()}


def _check_tensors(tensors: Mapping[Any, Tensor], path: Path) -> None:
    """Raise `UserError` for a tensor that cannot be the weights of a network."""
    for name, value in tensors.items():
        if not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise UserError(f"{path} is not a state dict: a tensor has the name {_shown(name)}")
        kinds = {"meta": value.is_meta, "nested": value.is_nested, "quantized": value.is_quantized}
        for kind in (kind for kind, is_kind in kinds.items() if is_kind):
            raise UserError(f"{path}: {_shown(name)} is a {kind} tensor; save one with plain numbers")
    # Sparse and expanded tensors may be small in the file.
    size = sum(math.prod(value.shape) * value.element_size() for value in tensors.values())
    if size > total_memory() / 2:
        raise UserError(f"{path} holds tensors of {size / 2**30:.3g} GiB, more than half of this machine's memory")


def _from_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unusual pickles, which are refused below anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors, and reading it could run code; "
            "save model.state_dict(), with torch.save or as safetensors"
        ) from error


def _without_prefix(tensors: dict[str, Tensor], own: frozenset[str], path: Path) -> dict[str, Tensor]:
    """The tensors of the network, without the prefix of their names; all tensors if none has a name of the network.

    Raises `UserError` if there are several complete networks.
    """
    found = defaultdict(set)
    for name in tensors:
        for start in _starts(name):
            if name[start:] in own:
                found[name[:start]].add(name[start:])
    if not found:
        return tensors
    # Networks without running statistics have no batch count, nor do those of some versions of PyTorch.
    needed = {name for name in own if not name.endswith("num_batches_tracked")}
    complete = [prefix for prefix, names in found.items() if needed <= names]
    if len(complete) > 1:
        listed = " and ".join(f"{prefix}*" for prefix in sorted(complete))
        raise UserError(f"{path} holds several such networks, {listed}; save the state dict of one of them alone")
    prefix = complete[0] if complete else max(found, key=lambda prefix: (len(found[prefix]), -len(prefix)))
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _starts(name: str) -> list[int]:
    """Where a name begins, and where its parts begin after each dot."""
    return [0, *(place + 1 for place, letter in enumerate(name) if letter == ".")]


def _bake(tensors: dict[str, Tensor], own: frozenset[str]) -> dict[str, Tensor]:
    """Multiply weights by their masks: `x` by `x_mask`, or, from torch.nn.utils.prune, `x_orig` by `x_mask`."""
    baked = dict(tensors)
    for name, mask in tensors.items():
        plain = name.removesuffix("_mask")
        sources = [source for source in (plain, f"{plain}_orig") if source in tensors]
        if plain == name or not sources or any(name[start:] in own for start in _starts(name)):
            continue
        weight = tensors[sources[0]]
        if weight.shape != mask.shape:
            shapes = f"{tuple(mask.shape)}, {sources[0]} {tuple(weight.shape)}"
            raise UserError(f"the checkpoint is damaged: {name} has shape {shapes}")
        del baked[name], baked[sources[0]]
        baked[plain] = weight * mask
    return baked


def _few(names: Iterable[Any]) -> str:
    listed = [_shown(name) for name in names]
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")


def _shown(name: Any) -> str:
    """A name as it is, unless it is no text, empty or very long."""
    return name if isinstance(name, str) and 0 < len(name) <= 100 else reprlib.repr(name)
