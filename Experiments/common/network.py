"""Initial network and data of a run."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from Layers import Masks, add_masks, drop_masks
from Models import build
from Models.registry import native_shape
from Utils import randomness
from Utils.config.settings import Run, Settings
from Utils.connectivity.interpreter import output_layers
from Utils.data.dataset import Data, load
from Utils.data.image_spec import ImageSpec
from Utils.errors import UserError
from Utils.machine import pick_device, usual_threads
from Utils.results import state_dicts


def initial_model(settings: Settings, data: Data) -> nn.Module:
    """The network of a run, with initial weights of its sample or of a checkpoint, and with its initial masks.

    Raises `UserError` if it cannot be built for these images, or if weights or masks belong to another network.
    """
    run, pruning = settings.run, settings.pruning
    model = _build(settings, data, "initial weights")
    if run.pretrained:
        _start_from_imagenet(model, run.architecture)
    if pruning.weights_from is not None:
        path = state_dicts.find(pruning.weights_from, run.out_path)
        state_dicts.load(model, state_dicts.read(path), f"--weights_from={pruning.weights_from}")
    if pruning.masks_from is not None:
        path = state_dicts.find(pruning.masks_from, run.out_path, "masks")
        try:
            masks = Masks.load(path)
        except ValueError as error:
            raise UserError(f"--masks_from={pruning.masks_from}: {error}") from error
        try:
            masks.install(model)
        except ValueError as error:
            raise UserError(f"--masks_from={pruning.masks_from} does not fit {run.architecture}: {error}") from error
    return model


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


def load_data_and_model(settings: Settings) -> tuple[Data, nn.Module]:
    """Load the data and build the network of a run on its device, and set the number of threads of this process."""
    if settings.machine.threads is not None:
        usual_threads()  # caches the default before it changes
        torch.set_num_threads(settings.machine.threads)
    device = pick_device(settings.machine.device)
    data = load_data(settings, device)
    return data, initial_model(settings, data).to(device)


def new_weights(settings: Settings, data: Data) -> dict[str, Tensor]:
    """State of the same network, without masks, with initial weights that nothing else of its sample uses."""
    return state_of(_build(settings, data, "new weights"))


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Copy the weights and buffers of a network, without masks."""
    return {name: value.clone() for name, value in model.state_dict().items() if not name.endswith("_mask")}


def restore(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights and buffers into a network; masks are not changed."""
    model.load_state_dict({**model.state_dict(), **state})


def _build(settings: Settings, data: Data, purpose: str) -> nn.Module:
    """Build the network with the masks that flags add or drop; `purpose` selects the stream of random weights."""
    run = settings.run
    generator = randomness.generator(run.sample, purpose)
    try:
        model = build(run.architecture, data.input_shape, data.classes, settings.training.batchnorm, generator)
    except ValueError as error:
        raise UserError(str(error)) from error
    if run.dense_classifier:
        with _refused_without_effect("dense_classifier", run):
            drop_masks(model, output_layers(model))
    for kind in settings.pruning.kinds:
        with _refused_without_effect(f"prune_{kind}", run):
            add_masks(model, kind)
    return model


@contextmanager
def _refused_without_effect(flag: str, run: Run) -> Iterator[None]:
    """Turn a `ValueError` into a `UserError` that says that the flag has no effect."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"--{flag} has no effect on {run.architecture}: {error}; leave it out") from error


def load_data(settings: Settings, device: torch.device) -> Data:
    """Load the data set of a run on a device."""
    run = settings.run
    assert run.data is not None
    held_out = settings.training.validation
    return load(run.data, run.path_to_data, image_spec_of(run), run.sample, held_out, device, run.mean, run.std)


def image_spec_of(run: Run) -> ImageSpec:
    """Image shape that the network of a run expects; raises `UserError` if the architecture is unknown."""
    size = run.image_size
    try:
        shape, channels = native_shape(run.architecture)
    except ValueError as error:
        raise UserError(str(error)) from error
    return ImageSpec(shape, (size[0], size[-1]) if size else None, channels)
