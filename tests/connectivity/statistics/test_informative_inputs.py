"""Inputs that masks keep, against gradients, and what a linear classifier knows from them."""

import time

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from Layers import MaskedConv2d, MaskedLinear, Masks, prunable
from Utils.connectivity.effective import effective_masks
from Utils.connectivity.statistics.informative_inputs import kept_inputs, linear_accuracy

SHAPE = (2, 5, 4)


class Branches(nn.Module):
    """Convolutions with strides, dilation and padding, two branches, and a pooling layer."""

    def __init__(self) -> None:
        super().__init__()
        self.left = MaskedConv2d(2, 3, 3, stride=2, padding=1, bias=False)
        self.right = MaskedConv2d(2, 3, (2, 1), dilation=(2, 1), stride=(1, 2), padding=(1, 0), bias=False)
        self.head = MaskedLinear(6, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.left(x)) + self.right(x)[:, :, :3]
        return self.head(F.avg_pool2d(x, (2, 1)).flatten(1))


@given(st.floats(0.05, 1), st.integers(0, 1000))
def test_kept_inputs_are_those_with_a_gradient(density, seed):
    """With positive weights and images, an input moves an output if and only if a path leads there."""
    model, generator = Branches(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight, mask in prunable(model).values():
            weight.abs_().add_(0.1)
            mask.copy_(torch.rand(mask.shape, generator=generator) < density)
    image = torch.ones(1, *SHAPE, requires_grad=True)
    model(image).sum().backward()
    assert image.grad is not None
    assert torch.equal(kept_inputs(model, SHAPE), image.grad[0] > 0)


def test_other_masks_than_the_model_s_and_biases():
    model = nn.Sequential(nn.Flatten(), MaskedLinear(4, 3), MaskedLinear(3, 2))
    masks = Masks({"1.weight": torch.zeros(3, 4, dtype=torch.bool), "2.weight": torch.ones(2, 3, dtype=torch.bool)})
    masks["1.weight"][0, 2] = True
    assert kept_inputs(model, (1, 2, 2), masks).tolist() == [[[False, False], [True, False]]]
    assert bool(kept_inputs(model, (1, 2, 2)).all())
    masks["2.weight"][:, 0] = False
    assert not kept_inputs(model, (1, 2, 2), masks).any()


def test_kept_inputs_of_a_linear_layer_are_its_effective_columns():
    model = nn.Sequential(nn.Flatten(), MaskedLinear(12, 5), nn.ReLU(), MaskedLinear(5, 2))
    masks = Masks({name: torch.rand(mask.shape) < 0.2 for name, (_, mask) in prunable(model).items()})
    effective = effective_masks(model, (3, 2, 2), masks)["1.weight"].any(0)
    assert 0 < int(effective.sum()) < 12
    assert torch.equal(kept_inputs(model, (3, 2, 2), masks).flatten(), effective)


def test_an_input_that_nothing_reads():
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = MaskedLinear(2, 2)
            self.start = nn.Parameter(torch.ones(1, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.start)

    assert kept_inputs(Constant(), (1, 1, 3)).tolist() == [[[False, False, False]]]


def images_with_one_informative_pixel(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise, except for a pixel that is bright for class 1 alone; 70% are of class 0."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.arange(count) % 10 >= 7).long()
    images = torch.rand(count, 1, 4, 4, generator=generator)
    images[:, 0, 2, 1] = labels + 0.1 * images[:, 0, 0, 0]
    return images, labels


@pytest.mark.parametrize(("pixels", "accuracy"), [([(2, 1)], 1.0), ([(0, 0), (2, 1)], 1.0), ([], 0.7)])
def test_one_informative_pixel(pixels, accuracy):
    kept = torch.zeros(1, 4, 4, dtype=torch.bool)
    for row, column in pixels:
        kept[0, row, column] = True
    train, test = (images_with_one_informative_pixel(200, seed) for seed in (0, 1))
    assert linear_accuracy(*train, *test, kept) == accuracy
    others = torch.ones(1, 4, 4, dtype=torch.bool)
    others[0, 2, 1] = False
    assert linear_accuracy(*train, *test, others) < 0.8


def test_the_classifier_is_ridge_regression():
    """Against the normal equations with centred features and targets -1 and 1."""
    generator = torch.Generator().manual_seed(0)
    train, test = (torch.randn(60, 1, 3, 3, generator=generator) for _ in range(2))
    labels = torch.randint(0, 3, (60,), generator=generator)
    kept = torch.rand(1, 3, 3, generator=generator) < 0.6
    x, t = (images[:, kept].double() for images in (train, test))
    y = 2.0 * F.one_hot(labels, 3).double() - 1
    slopes = torch.linalg.solve((x - x.mean(0)).T @ (x - x.mean(0)) + torch.eye(x.shape[1]), (x - x.mean(0)).T @ y)
    predicted = ((t - x.mean(0)) @ slopes + y.mean(0)).argmax(1)
    assert linear_accuracy(train, labels, test, labels, kept) == float((predicted == labels).double().mean())


def test_ten_thousand_digits_take_a_second():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(10_000, 1, 28, 28, generator=generator), torch.arange(10_000) % 10
    kept = torch.ones(1, 28, 28, dtype=torch.bool)
    first = linear_accuracy(images, labels, images[:1000], labels[:1000], kept)
    started = time.process_time()
    assert linear_accuracy(images, labels, images[:1000], labels[:1000], kept) == first
    assert time.process_time() - started < 4  # about one second on one thread
