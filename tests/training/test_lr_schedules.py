"""Learning rates against PyTorch's own schedulers."""

import pytest
import torch
from torch.optim import lr_scheduler as reference

from Utils.config.choices import LR_SCHEDULES
from Utils.config.resolved import Recipe
from Utils.training.lr_schedules import SCHEDULES, learning_rate

STEPS = 40


def expected(make) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    scheduler, rates = make(optimizer), []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def found(**values) -> list[float]:
    training = Recipe(lr=0.2, iterations=STEPS, lr_drops=(10, 25), lr_drop_rate=0.1, **values)
    return [learning_rate(training, iteration) for iteration in range(STEPS)]


@pytest.mark.parametrize(("values", "make"), [
    ({}, lambda o: reference.MultiStepLR(o, [10, 25], 0.1)),
    ({"lr_schedule": "constant"}, lambda o: reference.ConstantLR(o, 1.0)),
    ({"lr_schedule": "cosine"}, lambda o: reference.CosineAnnealingLR(o, STEPS)),
    ({"lr_schedule": "cyclic", "lr_cycle": (6, 4)}, lambda o: reference.CyclicLR(o, 0.0, 0.2, 6, 4)),
    ({"lr_schedule": "cyclic", "lr_cycle": (5,)}, lambda o: reference.CyclicLR(o, 0.0, 0.2, 5, 5)),
    ({"lr_schedule": "one-cycle"}, lambda o: reference.OneCycleLR(o, 0.2, STEPS, cycle_momentum=False)),
    ({"lr_schedule": "constant", "warmup": 8}, lambda o: reference.LinearLR(o, 1 / 8, 1.0, 7)),
])  # fmt: skip
def test_rates_are_those_of_pytorch(values, make):
    assert found(**values) == pytest.approx(expected(make), abs=1e-12)


def test_swa_is_constant_then_linear_then_constant():
    rates = found(lr_schedule="swa")
    assert rates[:21] == pytest.approx([0.2] * 21)
    assert rates[28] == pytest.approx(0.2 * (1 - 0.99 / 2)) and rates[36:] == pytest.approx([0.002] * 4)


def test_warming_up_goes_with_every_schedule():
    for name in SCHEDULES:
        plain, warmed = found(lr_schedule=name), found(lr_schedule=name, warmup=4)
        assert warmed == pytest.approx([rate * min(1, (i + 1) / 4) for i, rate in enumerate(plain)])


def test_settings_name_every_schedule():
    assert tuple(SCHEDULES) == LR_SCHEDULES
