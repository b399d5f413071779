"""Which network, and which images, does a run begin with?"""

import torch
from torch import nn

from Models import build, native_shape
from Utils import checkpoints, randomness
from Utils.data import Data, load
from Utils.errors import UserError
from Utils.frame import Frame
from Utils.settings import Run, Settings


def initial_model(settings: Settings, data: Data) -> nn.Module:
    """The network with the initial weights of its sample, or those of a checkpoint.

    Raises `UserError` if it cannot be built for these images, or the checkpoint is of another network.
    """
    run, source = settings.run, settings.pruning.weights_from
    generator = randomness.generator(run.sample, "initial weights")
    try:
        model = build(run.architecture, data.input_shape, data.classes, settings.training.batchnorm, generator)
    except ValueError as error:
        raise UserError(str(error)) from error
    if source is not None:
        path = checkpoints.find(source, run.out_path)
        checkpoints.load(model, checkpoints.read(path), f"--weights_from={source}")
    return model


def load_data(settings: Settings, device: torch.device) -> Data:
    """The data set of a run, on its device."""
    run = settings.run
    assert run.data is not None
    held_out = settings.training.validation
    return load(run.data, run.path_to_data, frame_of(run), run.sample, held_out, device, run.mean, run.std)


def frame_of(run: Run) -> Frame:
    """The shape in which a run's network wants its images; raises `UserError` if there is no such network."""
    size = run.image_size
    try:
        shape, channels = native_shape(run.architecture)
    except ValueError as error:
        raise UserError(str(error)) from error
    return Frame(shape, (size[0], size[-1]) if size else None, channels)
