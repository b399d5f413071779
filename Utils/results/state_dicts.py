"""State dicts of checkpoint files: reads their weights, bakes masks in, and loads them into a network.

A checkpoint is a state dict, saved as safetensors or by PyTorch, alone or inside a training checkpoint, or the weights
of a stored run. No file is read in a way that could run code.
"""

import pickle
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from Layers import state_without_masks
from Utils.errors import UserError
from Utils.results.folders import find_run

_INSIDE = (
    "state_dict", "model_state_dict", "model", "net", "module", "weights", "params",
    "state_dict_ema", "model_ema", "ema",
)  # fmt: skip
"""Names of the entry that holds the state dict in training checkpoints; the first counts, moving averages last."""


def find(place: str, results: str, what: str = "weights") -> Path:
    """The file of weights (or of masks) at a place: a file, a run's folder, or a run's name in a results folder.

    Raises `UserError`, which names the flag `--weights_from` (or `--masks_from`), if there is no such file, or if
    several runs have the name.
    """
    path, flag = Path(place), f"--{what}_from={place}"
    if path.is_file():
        return path
    folders = [path] if path.is_dir() else find_run(results, place)
    if not folders:
        raise UserError(f"{flag} is not a file, a run's folder, or the name of a run in {results}")
    if len(folders) > 1:
        raise UserError(f"{flag} is the name of several runs: {', '.join(map(str, folders))}")
    file = folders[0] / f"{what}.safetensors"
    if not file.is_file():
        raise UserError(f"{flag}: {folders[0]} has no {file.name}: the run failed, or the folder is not that of a run")
    return file


def content_key(path: Path) -> str:
    """A hash of a file's content: ten hexadecimal digits."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:10]


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
    for name in state.keys() & weights.keys():
        if state[name].shape != weights[name].shape:
            raise UserError(
                f"{source} does not fit the network: {name} has shape {tuple(weights[name].shape)} there, "
                f"{tuple(state[name].shape)} here"
            )
        if state[name].is_floating_point() and not weights[name].is_floating_point():
            raise UserError(f"{source}: {name} holds {weights[name].dtype}, not floating-point numbers")
        if not bool(torch.isfinite(weights[name]).all()):
            raise UserError(f"{source} is damaged: {name} has entries that are not finite")
    model.load_state_dict({**model.state_dict(), **{name: weights[name] for name in state.keys() & weights.keys()}})


def _state_dict(path: Path) -> dict[str, Tensor]:
    content: Any
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _from_torch(path)
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file: {error}") from error
    except PermissionError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds {type(content).__name__}, not a state dict; save model.state_dict() instead")
    while inner := next((content[name] for name in _INSIDE if isinstance(content.get(name), Mapping)), None):
        content = inner
    tensors = {name: value.to_dense() for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path} holds no named tensors, so it is not a state dict (found: {_few(map(str, content))})")
    return tensors


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
    except PermissionError:
        raise
    except Exception as error:  # PyTorch's reader raises many kinds of errors for files of other formats
        raise UserError(f"{path} is damaged, or not a PyTorch checkpoint") from error


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


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")
