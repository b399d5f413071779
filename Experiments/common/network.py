"""Data and initial network of a run, built from their specs."""

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from Layers import Masks, add_masks, drop_masks, state_without_masks
from Layers.masks import NotMasksError
from Models import build
from Models.registry import native_shape
from Utils import randomness
from Utils.config.resolved import DataSpec, NetworkSpec
from Utils.connectivity.interpreter import output_layers
from Utils.data.dataset import Data, prepare, read
from Utils.data.image_spec import ImageArrays, ImageSpec
from Utils.errors import UserError
from Utils.results import state_dicts

_MANY_ZEROS = 0.05
"""Fraction of exact zeros above which weights look pruned: initial and trained weights are hardly ever exactly 0."""


def initial_model(spec: NetworkSpec, data: Data) -> nn.Module:
    """The network that a run starts with, with weights of its sample or of a checkpoint, and with its initial masks.

    Raises `UserError` if it cannot be built for these images, or if weights or masks belong to another network.
    """
    model = build_network(spec, data.input_shape, data.classes)
    if spec.pretrained:
        _start_from_imagenet(model, spec.architecture)
    if spec.weights_from is not None:
        _start_from_weights(model, spec, spec.weights_from)
    if spec.masks_from is not None:
        _start_from_masks(model, spec, spec.masks_from)
    return model


def load_file(model: nn.Module, path: Path, source: str) -> None:
    """Load the weights of a file; errors begin with `source`."""
    state_dicts.load(model, state_dicts.read(path, frozenset(state_without_masks(model))), source)


def _start_from_weights(model: nn.Module, spec: NetworkSpec, place: str) -> None:
    """Load the weights of a file; warns of many zeros, which could be pruned entries."""
    load_file(model, state_dicts.find(place, spec.results), f"--weights_from={place}")
    masks = Masks.from_zeros(model)
    zeros = 1 - masks.kept / masks.total
    if spec.masks_from is None and zeros > _MANY_ZEROS:
        warnings.warn(
            f"--weights_from={place}: {zeros:.1%} of the prunable entries are exactly 0 and count as kept; "
            f"--masks_from={place} prunes them",
            stacklevel=2,
        )


def _start_from_masks(model: nn.Module, spec: NetworkSpec, place: str) -> None:
    """Install the masks of a mask file, or those that a state dict has or shows by its zeros."""
    path = state_dicts.find(place, spec.results, "masks")
    try:
        masks = Masks.load(path)
    except NotMasksError:
        pruned = copy.deepcopy(model)  # the weights of the model stay as they are
        load_file(pruned, path, f"--masks_from={place}")
        masks = Masks.from_zeros(pruned)
    except ValueError as error:
        raise UserError(f"--masks_from={place}: {error}") from error
    try:
        masks.install(model)
    except ValueError as error:
        raise UserError(f"--masks_from={place} does not fit {spec.architecture}: {error}") from error


def _start_from_imagenet(model: nn.Module, name: str) -> None:
    """Load torchvision's ImageNet weights; warns of parameters that keep initial weights because shapes differ."""
    from Models.torchvision_models import load_pretrained

    try:
        fresh = load_pretrained(model, name)
    except ConnectionError as error:
        raise UserError(
            f"--pretrained: weights of {name} cannot be downloaded ({error}); give a weight file with --weights_from"
        ) from error
    except ValueError as error:
        raise UserError(f"--pretrained: {error}") from error
    if fresh:
        warnings.warn(
            f"{name} starts from ImageNet weights, except for {', '.join(fresh)}: shapes differ", stacklevel=2
        )


def new_weights(spec: NetworkSpec, data: Data) -> dict[str, Tensor]:
    """State of the same network, without masks, with initial weights that nothing else of its sample uses."""
    return state_of(build_network(spec, data.input_shape, data.classes, "new weights"))


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Copy the weights and buffers of a network, without masks."""
    return {name: value.clone() for name, value in state_without_masks(model).items()}


def restore(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights and buffers into a network; masks are not changed."""
    model.load_state_dict({**model.state_dict(), **state})


def build_network(
    spec: NetworkSpec, input_shape: tuple[int, int, int], classes: int, purpose: str = "initial weights"
) -> nn.Module:
    """The network of a spec with random weights and all masks open; `purpose` selects the stream of random weights.

    Raises `UserError` if it cannot be built for these images, or if a flag has no effect on it.
    """
    generator = randomness.generator(spec.sample, purpose)
    try:
        model = build(spec.architecture, input_shape, classes, spec.batchnorm, generator)
    except ValueError as error:
        raise UserError(str(error)) from error
    change_masks(model, spec)
    return model


def change_masks(model: nn.Module, spec: NetworkSpec) -> None:
    """Drop and add the masks that flags ask for, in place; raises `UserError` for a flag without effect."""
    if spec.dense_classifier:
        with _refused_without_effect("dense_classifier", spec):
            drop_masks(model, output_layers(model))
    for kind in spec.kinds:
        with _refused_without_effect(f"prune_{kind}", spec):
            add_masks(model, kind)


@contextmanager
def _refused_without_effect(flag: str, spec: NetworkSpec) -> Iterator[None]:
    """Turn a `ValueError` into a `UserError` that says that the flag has no effect."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"--{flag} has no effect on {spec.architecture}: {error}; leave it out") from error


def load_data(
    spec: DataSpec, device: torch.device, sent: Mapping[tuple[str, str, ImageSpec], ImageArrays] | None = None
) -> Data:
    """Load a data set on a device; `sent` are images that this process need not read."""
    key = spec.name, spec.path, image_spec_of(spec)
    images = (sent or {}).get(key) or read(*key)
    return prepare(spec.name, images, spec.sample, spec.validation, device, spec.mean, spec.std)


def image_spec_of(spec: DataSpec) -> ImageSpec:
    """Image shape that the network of a run expects; raises `UserError` if the architecture is unknown."""
    size = spec.image_size
    try:
        shape, channels = native_shape(spec.architecture)
    except ValueError as error:
        raise UserError(str(error)) from error
    return ImageSpec(shape, (size[0], size[-1]) if size else None, channels)
