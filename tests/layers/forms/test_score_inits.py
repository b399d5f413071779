"""Initial scores: range, moments and shape of each distribution, and the generator as their only source."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from Experiments.supermask import SCORE_INITS as CHOICES
from Layers.forms.score_inits import SCORE_INITS

CONV = (64, 32, 5, 5)
BOUND = 1 / math.sqrt(32 * 25)
"""Of a kernel with 32 x 5 x 5 inputs."""

DISTRIBUTIONS = {
    "uniform": stats.uniform(),
    "bernoulli": stats.bernoulli(0.5),
    "bimodal": stats.beta(0.1, 0.1),
    "skew": stats.beta(1, 5),
    "kaiming-uniform": stats.uniform(-BOUND, 2 * BOUND),
    "half": stats.uniform(0.5, 0),
}


def draw(name: str, shape: tuple[int, ...] = CONV, seed: int = 0) -> Tensor:
    return SCORE_INITS[name](torch.empty(shape), torch.Generator().manual_seed(seed))


def test_every_choice_has_a_distribution():
    assert set(SCORE_INITS) == set(CHOICES) == set(DISTRIBUTIONS)


@pytest.mark.parametrize("name", sorted(set(DISTRIBUTIONS) - {"half"}))
def test_moments(name):
    scores, law = draw(name).double(), DISTRIBUTIONS[name]
    mean, variance, kurtosis = (float(value) for value in law.stats("mvk"))
    error = 4.5 / math.sqrt(scores.numel())
    assert scores.mean().item() == pytest.approx(mean, abs=error * math.sqrt(variance))
    assert scores.var().item() == pytest.approx(
        variance, abs=error * variance * math.sqrt(kurtosis + 2) + 1e-4 * variance
    )
    assert law.support()[0] <= scores.min().item() and scores.max().item() <= law.support()[1] * (1 + 1e-6)
    assert scores.dtype == torch.float64 and draw(name).dtype == torch.float32


@pytest.mark.parametrize("name", ["uniform", "bimodal", "skew", "kaiming-uniform"])
def test_whole_distribution(name):
    levels = torch.tensor([0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999])
    low, high = DISTRIBUTIONS[name].support()
    points = low + (high - low) * levels.double()
    scores = draw(name).double().flatten()
    shares = (scores[:, None] <= points).double().mean(0).tolist()
    assert shares == pytest.approx(DISTRIBUTIONS[name].cdf(points.numpy()).tolist(), abs=2.5 / math.sqrt(len(scores)))


def test_bernoulli_and_half():
    assert draw("bernoulli").unique().tolist() == [0, 1]
    assert draw("half").unique().tolist() == [0.5]


@pytest.mark.parametrize(("shape", "fan_in"), [((7, 9), 9), ((8, 3, 2, 5), 30), ((11,), 11)])
def test_kaiming_bound_is_that_of_new_kernels(shape, fan_in):
    scores = torch.cat([draw("kaiming-uniform", shape, seed).flatten() for seed in range(200)])
    assert 0.99 / math.sqrt(fan_in) < scores.max() <= 1 / math.sqrt(fan_in)
    assert -0.99 / math.sqrt(fan_in) > scores.min() >= -1 / math.sqrt(fan_in)
    if len(shape) > 1:
        kernel = nn.init.kaiming_uniform_(torch.empty(5000, *shape[1:]), a=math.sqrt(5))
        assert kernel.abs().max().item() == pytest.approx(1 / math.sqrt(fan_in), rel=1e-3)


@pytest.mark.parametrize("name", sorted(SCORE_INITS))
def test_scores_depend_on_shape_and_generator_alone(name):
    scores = draw(name)
    assert scores.shape == CONV
    torch.manual_seed(1234)
    generator = torch.Generator().manual_seed(0)
    twins = [torch.ones(CONV).to(memory_format=torch.channels_last), torch.empty(CONV, dtype=torch.float64)]
    twins.append(torch.empty(CONV, device="meta"))
    for weight in twins:
        drawn = SCORE_INITS[name](weight, generator.manual_seed(0))
        assert drawn.equal(scores) and drawn.is_contiguous() and drawn.device.type == "cpu"
    if name != "half":
        assert not draw(name, seed=1).equal(scores)
        assert not SCORE_INITS[name](twins[0], generator).equal(scores), "the generator moves on"
