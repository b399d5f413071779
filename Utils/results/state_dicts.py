"""What weights does a checkpoint hold?

A checkpoint is a state dict, as safetensors or as PyTorch saved it, alone or inside a training checkpoint; or a run of
ours. Nothing is read that would run code.
"""

import pickle
import warnings
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from Utils.errors import UserError
from Utils.results.folders import find_run

_INSIDE = ("state_dict", "model_state_dict", "model", "net", "module", "weights", "params")
"""Where training checkpoints keep the state dict."""

_WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every name."""


def find(place: str, results: str, what: str = "weights") -> Path:
    """A file of weights (or of masks): itself, that of a run's folder, or of a run by its name in a results folder.

    Raises `UserError`, which names the flag `--weights_from` (or `--masks_from`), if there is none.
    """
    path, flag = Path(place), f"--{what}_from={place}"
    if path.is_file():
        return path
    folders = [path] if path.is_dir() else find_run(results, place)
    if not folders:
        raise UserError(f"{flag} is no file, no run's folder, and no run of that name in {results}")
    if len(folders) > 1:
        raise UserError(f"{flag} is the name of several runs: {', '.join(map(str, folders))}")
    found = folders[0] / f"{what}.safetensors"
    if not found.is_file():
        raise UserError(f"{flag}: {folders[0]} has no {found.name}: it failed, or is no run of ours")
    return found


def content_key(path: Path) -> str:
    """Ten hexadecimal digits that stand for a file's content."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:10]


@lru_cache(maxsize=1)
def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, masks multiplied in; raises `UserError` if it is not one."""
    return _bake(_without_wrappers(_state_dict(path)))


def load(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Give a network the weights of a checkpoint, all of them, in its own precision; masks stay as they are.

    Raises `UserError` naming what is missing, left over or of another shape.
    """
    own = {name: value for name, value in model.state_dict().items() if not name.endswith("_mask")}
    # Networks without running statistics, and those of other versions of PyTorch, do without the count.
    optional = {name for name in own.keys() ^ weights.keys() if name.endswith("num_batches_tracked")}
    missing, extra = sorted(own.keys() - weights.keys() - optional), sorted(weights.keys() - own.keys() - optional)
    if missing or extra:
        parts = [f"lacks {_few(missing)}" * bool(missing), f"has {_few(extra)} too many" * bool(extra)]
        raise UserError(f"{source} is of another network: it {' and '.join(filter(None, parts))}")
    for name in own.keys() & weights.keys():
        if own[name].shape != weights[name].shape:
            raise UserError(
                f"{source} is of another network: {name} has shape {tuple(weights[name].shape)} there, "
                f"{tuple(own[name].shape)} here"
            )
        if own[name].is_floating_point() and not weights[name].is_floating_point():
            raise UserError(f"{source}: {name} holds {weights[name].dtype}, not floating-point numbers")
        if not bool(torch.isfinite(weights[name]).all()):
            raise UserError(f"{source} is damaged: {name} has entries that are not finite")
    model.load_state_dict({**model.state_dict(), **{name: weights[name] for name in own.keys() & weights.keys()}})


def _state_dict(path: Path) -> dict[str, Tensor]:
    content: Any
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _from_torch(path)
    except SafetensorError as error:
        raise UserError(f"{path} is no safetensors file: {error}") from error
    except PermissionError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds {type(content).__name__}, not a state dict; save model.state_dict() instead")
    for name in _INSIDE:
        if isinstance(content.get(name), Mapping):
            content = content[name]
            break
    tensors = {name: value.to_dense() for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path} holds no tensors by name, so it is no state dict (found: {_few(map(str, content))})")
    return tensors


def _from_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickles, which are refused below all the same
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is no checkpoint of tensors alone, and reading it could run code; "
            "save model.state_dict(), with torch.save or as safetensors"
        ) from error
    except PermissionError:
        raise
    except Exception as error:  # its reader fails on other files in as many ways as there are files
        raise UserError(f"{path} is damaged, or no checkpoint of PyTorch") from error


def _without_wrappers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _WRAPPERS * 2:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _bake(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Multiply masks in: ours (`x` and `x_mask`) and those of torch.nn.utils.prune (`x_orig` and `x_mask`)."""
    baked = {name: value for name, value in tensors.items() if not name.endswith("_mask")}
    for name, mask in tensors.items():
        plain = name.removesuffix("_mask")
        if plain == name:
            continue
        source = plain if plain in baked else f"{plain}_orig"
        if source in baked:
            weight = baked.pop(source)
            if weight.shape != mask.shape:
                shapes = f"{tuple(mask.shape)}, {source} {tuple(weight.shape)}"
                raise UserError(f"the checkpoint is damaged: {name} has shape {shapes}")
            baked[plain] = weight * mask
    return baked


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")
