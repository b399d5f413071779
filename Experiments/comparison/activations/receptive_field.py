"""Receptive fields: the part of the image that each position of each layer sees, along the traced graph."""

import numpy as np
import torch
from torch import Tensor

from Experiments.comparison.activations.recording import Recorder
from Utils.connectivity.interpreter import arrivals


def receptive_fields(recorder: Recorder) -> dict[str, np.ndarray]:
    """The smallest box of pixels with all inputs of a position, int64 (…positions, 4): top, left, bottom, right.

    Positions are those at which the recorder reads each layer. Bottom and right are exclusive, padding is no pixel, and
    a position that sees padding only has an empty box. All operations of the operation table are followed; after a
    flattening or a global pooling a unit sees the whole image.

    An entry keeps the highest number of all inputs with a path to it. If the inputs carry their row numbers, it is the
    last row that the entry sees; if they carry them in reverse, it is the first.
    """
    shape = recorder.network.input_shape
    _, height, width = shape
    rows = torch.arange(1, height + 1, dtype=torch.int32)[:, None].expand(shape)
    columns = torch.arange(1, width + 1, dtype=torch.int32).expand(shape)
    top, left, bottom, right = (
        _farthest(recorder, numbers) for numbers in (height + 1 - rows, width + 1 - columns, rows, columns)
    )
    return {name: np.stack([height - top[name], width - left[name], bottom[name], right[name]], -1) for name in bottom}


def _farthest(recorder: Recorder, numbers: Tensor) -> dict[str, np.ndarray]:
    """The highest number that reaches each position (of any unit) of each layer."""
    values = arrivals(recorder.network.model, numbers.contiguous())
    return {
        name: values[node.name].amax(recorder.unit_axes[name])[0].cpu().numpy().astype(np.int64)
        for name, node in recorder.nodes.items()
    }
