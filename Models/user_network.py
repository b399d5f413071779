"""The user's own network, created by a factory: `FILE.py:FACTORY` or `module:FACTORY`.

A factory is any function or class that returns an `nn.Module`. It may have the parameters `input_shape`, `classes` (or
`num_classes`) and `batchnorm`, and is called with the ones that it has.
"""

import difflib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from Layers import mask_model, prunable
from Layers.conversion import guess_input_shape
from Models.normalisation import use_batch_statistics
from Utils.errors import UserError
from Utils.files import is_file
from Utils.user_code import user_code

_DEFAULT_SHAPE = (1, 28, 28)
"""Native input shape of a factory that accepts any shape."""


def user_network(name: str, input_shape: tuple[int, int, int], classes: int, batchnorm: str) -> nn.Module:
    """Create the masked network of a factory.

    Raises `ValueError` with the reason if there is no such factory or it fails, if the network does not run on
    `input_shape` or does not return at least `classes` numbers per image, or if a layer cannot have a mask.
    """
    with user_code(f"{name} failed", passed=ValueError):
        return _masked(name, input_shape, classes, batchnorm)


def _masked(name: str, input_shape: tuple[int, int, int], classes: int, batchnorm: str) -> nn.Module:
    model = _create(name, input_shape, classes, batchnorm)
    if batchnorm == "batch" and "batchnorm" not in _parameters(name):
        use_batch_statistics(model)
    mask_model(model, input_shape)
    if not prunable(model):
        raise ValueError(f"{name} has no Linear and no Conv2d layer, so there is nothing to prune")
    with user_code(f"{name} failed", passed=()), torch.no_grad():
        output: Any = model.eval()(torch.zeros(2, *input_shape))
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[0] != 2 or shape[1] < classes:
        raise ValueError(f"{name} gives {shape} for 2 images, not (2, {classes}): at least one number per class")
    return model.train()


@lru_cache
def user_network_shape(name: str) -> tuple[tuple[int, int, int], int | None]:
    """The native input shape of a network, and its number of channels if that is fixed, else None.

    Raises `ValueError` with the reason if there is no such factory or it fails.
    """
    with user_code(f"{name} failed", passed=ValueError):
        return _native_shape(name)


def _native_shape(name: str) -> tuple[tuple[int, int, int], int | None]:
    parameter = _parameters(name).get("input_shape")
    if parameter is not None:
        default: Any = parameter.default
        return _DEFAULT_SHAPE if default in (None, inspect.Parameter.empty) else tuple(default), None
    with torch.random.fork_rng(devices=[]):
        model = _create(name, _DEFAULT_SHAPE, 10, "running")
        try:
            shape = guess_input_shape(model)
        except ValueError:
            # The first layer does not determine a shape; `user_network` checks the shape of the images.
            return _DEFAULT_SHAPE, None
    channels, *size = shape
    if size and size != [1, 1]:
        return (channels, *size), channels  # type: ignore[return-value]
    for planes in (1, 3):
        side = math.isqrt(channels // planes)
        if planes * side * side == channels:
            return (planes, side, side), planes
    return (1, 1, channels), 1


def source_key(name: str) -> str:
    """Ten hexadecimal digits of the hash of a factory's source file: editing the file makes it a different network.

    Raises `ValueError` with the reason if the file cannot be imported.
    """
    with user_code(f"{name} failed", passed=ValueError):
        file = inspect.getsourcefile(_module(name))
        return sha256(Path(file).read_bytes() if file else b"").hexdigest()[:10]


def _create(name: str, input_shape: tuple[int, int, int], classes: int, batchnorm: str) -> nn.Module:
    arguments = {"input_shape": input_shape, "classes": classes, "num_classes": classes, "batchnorm": batchnorm}
    parameters = _parameters(name)
    missing = [item.name for item in parameters.values() if _is_required(item) and item.name not in arguments]
    if missing:
        raise ValueError(f"{name} needs {', '.join(missing)}; a factory gets, by name: {', '.join(arguments)}")
    factory = _factory(name)
    with user_code(f"{name} failed", passed=()):
        model = factory(**{key: value for key, value in arguments.items() if key in parameters})
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name} must give an nn.Module, not {type(model).__name__}")
    return model.float()


def _parameters(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(_factory(name)).parameters)


def _is_required(parameter: inspect.Parameter) -> bool:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in kinds


def _factory(name: str) -> Callable[..., Any]:
    module, function = _module(name), name.rpartition(":")[2]
    factory = getattr(module, function, None)
    if callable(factory):
        return factory
    names = [key for key, value in vars(module).items() if callable(value) and _is_from(value, module)]
    close = difflib.get_close_matches(function, names, n=1)
    suggestion = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{name}: there is no function or class {function!r}{suggestion} (there are: {', '.join(names)})")


def _is_from(value: Any, module: ModuleType) -> bool:
    return getattr(value, "__module__", None) == module.__name__


@lru_cache
def _module(name: str) -> ModuleType:
    source = name.rpartition(":")[0]
    path = Path(source)
    is_path = path.suffix == ".py"
    if is_path and not is_file(path):
        raise ValueError(f"{name}: there is no file {source}")
    with user_code(f"{name} cannot be imported"):
        if is_path:
            return _from_file(path)
        try:
            return _from_path(source)
        except ModuleNotFoundError as error:
            if error.name != source.partition(".")[0]:
                raise
            raise UserError(f"{name}: there is no module {source!r} here; give FILE.py:FACTORY") from error


def _from_file(path: Path) -> ModuleType:
    # A unique name, so that a file called random.py does not clash with another module.
    name = f"own_{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    _make_importable(path.resolve().parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle, also for copies to workers, looks classes up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_path(source: str) -> ModuleType:
    _make_importable(Path.cwd())
    return import_module(source)


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
