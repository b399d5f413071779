"""Which network, and which images, does a run begin with?"""

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
    """The network with the initial weights of its sample, or those of a checkpoint, and with the masks it starts from.

    Raises `UserError` if it cannot be built for these images, or weights or masks are of another network.
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
    from Models.torchvision_models import load_pretrained

    try:
        fresh = load_pretrained(model, name)
    except ConnectionError as error:
        raise UserError(
            f"--pretrained: weights of {name} cannot be downloaded ({error}); give a file of them as --weights_from"
        ) from error
    except ValueError as error:
        raise UserError(f"--pretrained: {error}") from error
    if fresh:
        warnings.warn(f"{name} starts from ImageNet's weights but for {', '.join(fresh)}: other shapes", stacklevel=2)


def load_data_and_model(settings: Settings) -> tuple[Data, nn.Module]:
    """The images and the network that a run begins with, on its device; from here on it has its number of threads."""
    if settings.machine.threads is not None:
        usual_threads()  # to be known before it is changed
        torch.set_num_threads(settings.machine.threads)
    device = pick_device(settings.machine.device)
    data = load_data(settings, device)
    return data, initial_model(settings, data).to(device)


def new_weights(settings: Settings, data: Data) -> dict[str, Tensor]:
    """The state of the same network, masks aside, with initial weights that nothing else of its sample has."""
    return state_of(_build(settings, data, "new weights"))


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights and buffers, masks aside."""
    return {name: value.clone() for name, value in model.state_dict().items() if not name.endswith("_mask")}


def restore(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a network weights and buffers; it keeps its masks."""
    model.load_state_dict({**model.state_dict(), **state})


def _build(settings: Settings, data: Data, purpose: str) -> nn.Module:
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
    try:
        yield
    except ValueError as error:
        raise UserError(f"--{flag} has no effect on {run.architecture}: {error}; leave it out") from error


def load_data(settings: Settings, device: torch.device) -> Data:
    """The data set of a run, on its device."""
    run = settings.run
    assert run.data is not None
    held_out = settings.training.validation
    return load(run.data, run.path_to_data, image_spec_of(run), run.sample, held_out, device, run.mean, run.std)


def image_spec_of(run: Run) -> ImageSpec:
    """The shape in which a run's network wants its images; raises `UserError` if there is no such network."""
    size = run.image_size
    try:
        shape, channels = native_shape(run.architecture)
    except ValueError as error:
        raise UserError(str(error)) from error
    return ImageSpec(shape, (size[0], size[-1]) if size else None, channels)
