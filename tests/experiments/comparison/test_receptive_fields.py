"""Receptive fields: boxes against pixels that are changed one by one, on random chains and on graphs of every kind."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS
from torch import Tensor, nn

from Experiments.comparison.activations.receptive_field import receptive_fields
from Experiments.comparison.activations.recording import Recorder, When
from Experiments.comparison.networks import Network
from Layers import MaskedConv2d, MaskedLinear


def recorder_of(model: nn.Module, shape: tuple[int, ...], when: When = "after") -> Recorder:
    """Positive weights, so that no two changes cancel."""
    for name, parameter in model.named_parameters():
        parameter.data = torch.full_like(parameter, 0.01 if name.endswith("bias") else 0.5)
    return Recorder(Network("a", "a", 0, model.eval().double(), shape, "", ""), when)


def by_brute_force(recorder: Recorder) -> dict[str, np.ndarray]:
    """The box of all pixels whose change changes a position."""
    channels, height, width = recorder.network.input_shape
    base = torch.rand(1, channels, height, width, dtype=torch.float64)
    changed = base.repeat(height * width, 1, 1, 1)
    for number in range(height * width):
        changed[number, :, number // width, number % width] += 1000  # above all others in a window of a maximum
    before, after = recorder(base), recorder(changed)
    boxes = {}
    for name, values in after.items():
        sees = (values != before[name]).any(1).reshape(height, width, *values.shape[2:]).numpy()
        box = np.zeros((*values.shape[2:], 4), dtype=np.int64)
        for position in np.ndindex(*values.shape[2:]):
            rows, columns = np.nonzero(sees[(slice(None), slice(None), *position)])
            box[position] = (
                [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1] if len(rows) else [height, width, 0, 0]
            )
        boxes[name] = box
    return boxes


def chain(random: np.random.Generator) -> nn.Sequential:
    """Convolutions and poolings of random kernels, strides, paddings and dilations."""
    layers: list[nn.Module] = []
    for _ in range(int(random.integers(1, 4))):
        kernel, stride, dilation = (int(random.integers(1, high)) for high in (4, 3, 3))
        padding = int(random.integers(0, 3))
        layers.append(MaskedConv2d(2, 2, kernel, stride, padding, dilation))
        layers += [nn.ReLU()] * int(random.integers(0, 2))
        size, step = int(random.integers(1, 3)), int(random.integers(1, 3))
        layers += [[], [nn.MaxPool2d(size, step, size // 2)], [nn.AvgPool2d(size, step)]][int(random.integers(0, 3))]
    return nn.Sequential(*layers)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_random_chains(seed):
    shape = (2, 9, 11)
    model = chain(np.random.default_rng(seed))
    try:
        model(torch.zeros(1, *shape))
    except RuntimeError:
        return  # an output without positions
    recorder = recorder_of(model, shape)
    found, expected = receptive_fields(recorder), by_brute_force(recorder)
    assert found.keys() == expected.keys()
    for name, boxes in found.items():
        np.testing.assert_array_equal(boxes, expected[name])


@pytest.mark.parametrize("name", ["residual", "concatenation", "grouped", "max-pooled"])
def test_graphs_with_sums_concatenations_and_padding_of_any_kind(name):
    kind, shape = NETWORKS[name]
    recorder = recorder_of(kind(), shape, "before")  # tanh saturates
    found, expected = receptive_fields(recorder), by_brute_force(recorder)
    for layer, boxes in found.items():
        np.testing.assert_array_equal(boxes, expected[layer], err_msg=layer)


def test_units_after_a_flattening_see_the_whole_image_and_a_strided_convolution_its_window():
    model = nn.Sequential(MaskedConv2d(1, 2, 3, stride=2, padding=1), nn.Flatten(), MaskedLinear(2 * 3 * 4, 3))
    boxes = receptive_fields(recorder_of(model, (1, 6, 8)))
    assert boxes["2"].tolist() == [0, 0, 6, 8]
    assert boxes["0"][0, 0].tolist() == [0, 0, 2, 2] and boxes["0"][1, 2].tolist() == [1, 3, 4, 6]


def test_pooling_before_the_nonlinearity_is_part_of_the_field():
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = MaskedConv2d(1, 1, 3)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(F.max_pool2d(self.conv(x), 2))

    recorder = recorder_of(Pooled(), (1, 6, 6))
    boxes = receptive_fields(recorder)["conv"]
    assert boxes.shape == (2, 2, 4) and boxes[0, 1].tolist() == [0, 2, 4, 6]
    np.testing.assert_array_equal(boxes, by_brute_force(recorder)["conv"])
