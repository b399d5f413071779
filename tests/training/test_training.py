"""The training loop against plain PyTorch and against Keras' definition of L2 regularisation."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from Layers import MaskedLinear, Masks, prunable
from Layers.forms.baked import Baked
from Layers.forms.dynamic import Dynamic
from Models import build
from Models.registry import ARCHITECTURES
from Utils.config.groups import Machine
from Utils.config.resolved import Recipe
from Utils.data import dataset
from Utils.data.image_spec import ImageSpec
from Utils.errors import UserError
from Utils.training.context import RunContext
from Utils.training.evaluation import History, evaluate, evaluation_batch_size
from Utils.training.loop import train
from Utils.training.lr_schedules import learning_rate
from Utils.training.optimizers import make_optimizer
from Utils.training.precision import Compute
from Utils.training.task import TrainingTask

RECIPE = Recipe(
    iterations=40, optimizer="momentum", lr=0.1, lr_drops=(20, 30), lr_drop_rate=0.1, momentum=0.9, weight_decay=1e-3,
    batch_size=64, augmentation="none", evaluate_every=20,
)  # fmt: skip


def digits() -> dataset.Data:
    return dataset.load("digits", "none", ImageSpec((1, 28, 28)))


def fresh() -> nn.Module:
    return build("lenet300100", generator=torch.Generator().manual_seed(0))


def run(model: nn.Module, training: Recipe, sample: int = 0, form=None, **flags) -> History:
    task = TrainingTask(model, digits(), training, sample, machine=Machine(**flags))
    (history,) = train(task, RunContext(), form)
    return history


def optimizer_of(model: nn.Module, training: Recipe) -> torch.optim.Optimizer:
    form = Dynamic()
    form.enter(model)
    return make_optimizer(form.parameters(), training)


def test_training_equals_a_plain_loop():
    model, plain = fresh(), fresh()
    history = run(model, RECIPE)
    loaded = digits()
    kernels = [p for p in plain.parameters() if p.dim() > 1]
    others = [p for p in plain.parameters() if p.dim() == 1]
    optimizer = torch.optim.SGD([{"params": kernels, "weight_decay": 1e-3}, {"params": others}], 0.1, momentum=0.9)
    losses, right = [], 0
    stream = loaded.training_batches(0, 64, "none")
    for iteration in range(40):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 if iteration < 20 else 0.01 if iteration < 30 else 0.001
        images, labels = next(stream)
        outputs = plain(images)
        loss = F.cross_entropy(outputs, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if iteration >= 20:
            losses.append(loss.item())
            right += int((outputs.argmax(1) == labels).sum())
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
    assert [row["iteration"] for row in history.rows] == [0, 20, 40]
    assert [row["lr"] for row in history.rows] == pytest.approx([0.1, 0.1, 0.001])
    assert history.last["train_loss"] == pytest.approx(sum(losses) / 20, rel=1e-3)
    assert history.last["train_top1"] == pytest.approx(right / (20 * 64), abs=0.01)
    assert history.last["epoch"] == pytest.approx(40 / 22)
    assert math.isnan(history.rows[0]["train_loss"]) and not model.training


def test_evaluation_equals_its_definition():
    model, loaded = fresh().eval(), digits()
    outputs = model(loaded.normalised(loaded.test.images))
    scores = evaluate(model, loaded, loaded.test, batch_size=77)
    assert scores.loss == pytest.approx(F.cross_entropy(outputs, loaded.test.labels).item(), rel=1e-5)
    ranks = (outputs > outputs.gather(1, loaded.test.labels[:, None])).sum(1)
    assert scores.top1 == pytest.approx((ranks == 0).float().mean().item())
    assert scores.top5 == pytest.approx((ranks < 5).float().mean().item())


@pytest.mark.parametrize(("shape", "batchnorm", "expected"), [
    ((1, 28, 28), "running", 2000), ((3, 32, 32), "running", 2000), ((3, 64, 64), "running", 500),
    ((3, 224, 224), "running", 256), ((3, 224, 224), "batch", 256), ((1, 28, 28), "batch", 256),
])  # fmt: skip
def test_large_images_are_tested_in_smaller_batches(shape, batchnorm, expected):
    assert evaluation_batch_size(Recipe(batch_size=256, batchnorm=batchnorm), shape) == expected


def test_same_sample_same_numbers():
    one, two, other = (run(fresh(), RECIPE, sample) for sample in (0, 0, 1))
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in h.rows] for h in (one, two, other)]
    assert str(timeless[0]) == str(timeless[1]) != str(timeless[2])


def test_keras_l2_coefficient_is_half_a_weight_decay_on_kernels():
    """Keras adds c * sum(w^2) to the loss; its gradient is 2 c w."""
    c = 5e-4
    ours, keras = fresh(), fresh()
    loaded = digits()
    images, labels = next(loaded.training_batches(0, 100, "none"))
    training = dataclasses.replace(RECIPE, weight_decay=2 * c, optimizer="sgd")
    step = optimizer_of(ours, training)
    F.cross_entropy(ours(images), labels).backward()
    step.step()
    loss = F.cross_entropy(keras(images), labels)
    loss = loss + c * sum((p**2).sum() for name, p in keras.named_parameters() if name.startswith("fc") and p.dim() > 1)
    gradients = torch.autograd.grad(loss, list(keras.parameters()))
    for a, b, gradient in zip(ours.parameters(), keras.parameters(), gradients, strict=True):
        torch.testing.assert_close(a, b - 0.1 * gradient)


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam", "rmsprop"])
def test_every_optimizer_learns_and_leaves_pruned_weights_out(name):
    model = fresh()
    model[1].weight_mask[::2] = False
    model[4].weight_mask[:, ::3] = False
    masks = Masks.of(model)
    lr = {"adam": 1e-3, "rmsprop": 1e-3}.get(name, 0.05)
    history = run(model, dataclasses.replace(RECIPE, optimizer=name, lr=lr, iterations=60))
    assert history.last["top1"] > 0.7
    assert Masks.of(model) == masks
    x = digits().normalised(digits().test.images[:20])
    before = model(x)
    with torch.no_grad():
        for layer in (model[1], model[4], model[7]):
            layer.weight *= layer.weight_mask
    torch.testing.assert_close(model(x), before)


@pytest.mark.parametrize(("name", "kind", "options"), [
    ("nesterov", torch.optim.SGD, {"nesterov": True, "momentum": 0.9}), ("adam", torch.optim.Adam, {}),
    ("momentum", torch.optim.SGD, {"nesterov": False, "momentum": 0.9}), ("rmsprop", torch.optim.RMSprop, {}),
    ("sgd", torch.optim.SGD, {"momentum": 0}),
])  # fmt: skip
def test_optimizers(name, kind, options):
    optimizer = optimizer_of(fresh(), dataclasses.replace(RECIPE, optimizer=name))
    assert type(optimizer) is kind and options.items() <= optimizer.defaults.items()
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-3, 0.0]
    assert [len(group["params"]) for group in optimizer.param_groups] == [3, 3 * 3]


def test_learning_rate_drops():
    rates = [learning_rate(RECIPE, iteration) for iteration in (0, 19, 20, 29, 30, 1000)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_a_diverged_run_stops_and_says_so():
    history = run(fresh(), dataclasses.replace(RECIPE, lr=1e30, iterations=500, optimizer="sgd", evaluate_every=500))
    assert history.error == "training diverged: the loss is not finite at iteration 50"
    assert history.last["iteration"] == 50


def test_no_steps_only_test():
    history = run(fresh(), dataclasses.replace(RECIPE, iterations=0))
    assert [row["iteration"] for row in history.rows] == [0] and not history.error


def test_validation_is_reported():
    loaded = dataset.load("digits", "none", ImageSpec((1, 28, 28)), 0, 100)
    model = fresh()
    (history,) = train(TrainingTask(model, loaded, RECIPE), RunContext())
    scores = evaluate(model, loaded, loaded.validation)
    assert history.last["val_top1"] == scores.top1 and history.last["val_loss"] == pytest.approx(scores.loss)


def test_dropout_depends_on_the_sample_and_leaves_the_global_generator_alone():
    def net() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), MaskedLinear(784, 20), nn.Dropout(0.5), MaskedLinear(20, 10))

    before = torch.random.get_rng_state()
    torch.random.set_rng_state(before)
    losses = []
    for sample in (0, 0, 1):
        model = net()
        state = torch.random.get_rng_state()
        losses.append(run(model, RECIPE, sample).last["train_loss"])
        assert torch.equal(torch.random.get_rng_state(), state)
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("name", ["lenet300100", "lenet5"])
def test_half_precision_learns_as_well(name):
    top1, recipe = {}, dataclasses.replace(RECIPE, iterations=160, lr_drops=(120, 140))
    for precision in ("fp32", "bf16"):
        model = build(name, generator=torch.Generator().manual_seed(0))
        loaded = dataset.load("digits", "", ImageSpec(ARCHITECTURES[name].input_shape))
        (history,) = train(TrainingTask(model, loaded, recipe, machine=Machine(precision=precision)), RunContext())
        top1[precision] = history.last["top1"]
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert min(top1.values()) > 0.8 and abs(top1["fp32"] - top1["bf16"]) < 0.08


def test_the_layout_of_memory_is_given_back_and_changes_no_result():
    model = build("lenet5", generator=torch.Generator().manual_seed(0)).eval()
    images = torch.rand(8, 3, 32, 32)
    expected = model(images)
    with Compute(model, Machine()) as compute:
        assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(compute.forward()(images), expected, rtol=1e-4, atol=1e-5)
    assert all(tensor.is_contiguous() for tensor in (*model.parameters(), *model.buffers()))
    assert torch.equal(model(images), expected)


def test_a_network_that_cannot_be_compiled(monkeypatch):
    def fails(*arguments, **options):
        raise torch._dynamo.exc.InternalTorchDynamoError("no compiler found")

    monkeypatch.setattr(torch, "compile", lambda model: fails)
    with pytest.raises(UserError, match=r"--compile failed \(no compiler found\); it needs a C\+\+ compiler"):
        run(fresh(), RECIPE, compile=True)


@pytest.mark.slow
def test_a_compiled_network_is_the_same_network():
    rows = []
    for is_compiled in (False, True):
        model = build("lenet300100", generator=torch.Generator().manual_seed(0))
        prunable(model)["fc1.weight"][1][:100] = False
        recipe = dataclasses.replace(RECIPE, iterations=20)
        history = run(model, recipe, compile=is_compiled)
        rows.append((history.last["train_loss"], history.last["test_loss"]))
    assert rows[0] == pytest.approx(rows[1], rel=1e-3)


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "nesterov", "rmsprop", "sgd"])
def test_masks_that_stay_train_as_masks_that_may_change(optimizer):
    training = dataclasses.replace(RECIPE, optimizer=optimizer, lr=0.01)
    trained, histories = [], []
    for form in (Baked(), Dynamic()):
        model = fresh()
        for index, (_, mask) in enumerate(prunable(model).values()):
            mask.copy_(torch.rand(mask.shape, generator=torch.Generator().manual_seed(index)) < 0.1)
        histories.append(run(model, training, form=form))
        trained.append({name: (weight * mask).detach() for name, (weight, mask) in prunable(model).items()})
    for name, weight in trained[0].items():
        assert torch.equal(weight, trained[1][name])
    seconds_aside = [[{**row, "seconds": 0, "train_loss": str(row["train_loss"]), "train_top1": str(row["train_top1"]),
                       "val_loss": 0, "val_top1": 0} for row in history.rows] for history in histories]  # fmt: skip
    assert seconds_aside[0] == seconds_aside[1]
