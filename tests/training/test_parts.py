"""Parts of a training: weight forms, callbacks, named checkpoints, and no state outside of them."""

import copy
import inspect
import sys
from collections.abc import Mapping
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import main
from Layers import MaskedConv2d, MaskedLinear, Masks, add_masks, prunable
from Layers.forms.baked import Baked
from Layers.forms.dynamic import Dynamic
from Layers.forms.weight_form import WeightForm
from Models import build
from Utils.config.resolved import Recipe
from Utils.data.dataset import load
from Utils.data.image_spec import ImageSpec
from Utils.training.callbacks import Callback
from Utils.training.context import CheckpointSaved, Event, RunContext
from Utils.training.loop import train
from Utils.training.task import TrainingTask

DIGITS = load("digits", "none", ImageSpec((1, 28, 28)))
FORMS = (Baked, Dynamic)


def task(model: nn.Module, iterations: int = 6, **recipe) -> TrainingTask:
    values = {"optimizer": "momentum", "lr": 0.1, "momentum": 0.9, "batch_size": 16, "evaluate_every": 3} | recipe
    return TrainingTask(model, DIGITS, Recipe(iterations=iterations, **values))


def network(seed: int = 0, density: float = 0.5) -> nn.Module:
    model = build("lenet300100", generator=torch.Generator().manual_seed(seed))
    for _, mask in prunable(model).values():
        mask.copy_(torch.rand(mask.shape, generator=torch.Generator().manual_seed(seed)) < density)
    return model


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Recorder(Callback):
    """Writes down what is called, and at which step."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def before_forward(self, training):
        self.calls.append(("before_forward", training.step))

    def penalty(self, training):
        self.calls.append(("penalty", training.step))

    def after_backward(self, training):
        self.calls.append(("after_backward", training.step))

    def after_step(self, training):
        self.calls.append(("after_step", training.step))

    def after_check(self, training, loss, top1):
        self.calls.append(("after_check", training.step))

    def after_test(self, training, member):
        assert training.histories[member].last["iteration"] == training.step
        self.calls.append(("after_test", training.step))

    def finish_step(self, training):
        self.calls.append(("finish_step", training.step))


def test_callbacks_are_called_in_order():
    recorder = Recorder()
    (history,) = train(task(network(), 2, evaluate_every=2), RunContext(), callbacks=[recorder])
    step = ["before_forward", "penalty", "after_backward"]
    assert recorder.calls == [
        ("after_step", 0), ("after_test", 0),
        *((name, 0) for name in step), ("after_step", 1), ("finish_step", 1),
        *((name, 1) for name in step), ("after_step", 2), ("after_check", 2), ("after_test", 2), ("finish_step", 2),
    ]  # fmt: skip
    assert [row["iteration"] for row in history.rows] == [0, 2]


def test_train_has_few_parameters_and_the_loop_is_short():
    assert len(inspect.signature(train).parameters) <= 5
    source = inspect.getsource(sys.modules[train.__module__])
    assert len(source.splitlines()) < 150


class L2(Callback):
    """A penalty by a callback."""

    def __init__(self, model: nn.Module, coefficient: float) -> None:
        self.model, self.coefficient = model, coefficient

    def penalty(self, training):
        return self.coefficient / 2 * sum(w.square().sum() for w in self.model.parameters() if w.dim() > 1)


class L2Form(Dynamic):
    """The same penalty by a weight form, and gradients that it changes afterwards."""

    def __init__(self, coefficient: float, factor: float = 1.0) -> None:
        self.coefficient, self.factor = coefficient, factor

    def penalty(self):
        return self.coefficient / 2 * sum(weight.square().sum() for weight in self.parameters().kernels)

    def after_backward(self):
        for parameter in self.model.parameters():
            parameter.grad *= self.factor


def test_penalties_and_gradients_of_forms_and_callbacks_act():
    """An L2 penalty is a weight decay; halved gradients are a halved learning rate."""
    runs = {}
    for name, recipe, form, callback in (
        ("decay", {"weight_decay": 0.1}, None, False), ("callback", {}, None, True), ("form", {}, L2Form(0.1), False),
        ("halved", {"lr": 0.2}, L2Form(0.1, 0.5), False),
    ):  # fmt: skip
        model = network(density=1.1)
        train(task(model, optimizer="sgd", **recipe), RunContext(), form, [L2(model, 0.1)] if callback else [])
        runs[name] = weights(model)
    for name in ("callback", "form", "halved"):
        for key, value in runs["decay"].items():
            torch.testing.assert_close(runs[name][key], value, rtol=1e-4, atol=1e-6)
    assert not same(runs["decay"], weights(network(density=1.1)))


class StopError(Exception):
    pass


class Stopper(Callback):
    """Ends a training in its midst."""

    def after_step(self, training):
        if training.step == 2:
            raise StopError


@pytest.mark.parametrize("form", FORMS)
def test_pruned_entries_come_back_whatever_happened(form):
    model = network()
    before = {name: weight.detach().clone() for name, (weight, _) in prunable(model).items()}
    with pytest.raises(StopError):
        train(task(model), RunContext(), form(), [Stopper()])
    for name, (weight, mask) in prunable(model).items():
        assert torch.equal(weight[~mask], before[name][~mask])
        assert not torch.equal(weight[mask], before[name][mask])
    assert not any(getattr(module, "_is_fixed", False) for module in model.modules())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from(FORMS), st.sampled_from(FORMS), st.floats(0, 1))
def test_a_state_does_not_show_which_form_it_is_of(seed, first, second, density):
    torch.manual_seed(seed)
    model = nn.Sequential(MaskedConv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), MaskedLinear(12, 4))
    add_masks(model, "bias")
    add_masks(model, "batchnorm")
    for _, mask in prunable(model).values():
        mask.copy_(torch.rand(mask.shape) < density)
    other, expected, x = copy.deepcopy(model), weights(model), torch.randn(5, 2, 3, 3)
    for weight, mask in prunable(other).values():
        weight.detach().normal_()
        mask.copy_(torch.rand(mask.shape) < 0.5)
    one, two = first(), second()
    with one.holding(model):
        state = {name: value.clone() for name, value in one.state().items()}
        assert one.masks() == Masks.of(model)
        model.eval()
        outputs = model(x)
    assert same(state, expected) and same(weights(model), expected)
    with two.holding(other):
        two.load(state)
        other.eval()
        torch.testing.assert_close(other(x), outputs)
        assert same(two.state(), expected)
    assert same(weights(other), expected)


def test_a_checkpoint_of_one_form_resumes_in_the_other():
    ends = []
    for form in FORMS:
        events: list[Event] = []
        model = network()
        train(task(model), RunContext(events.append, checkpoint_every=4), Baked())
        checkpoints = [event for event in events if isinstance(event, CheckpointSaved)]
        assert {event.name for event in checkpoints} == {"checkpoint-training.pt"}
        resumed = network(seed=1)
        context = RunContext(checkpoints={"checkpoint-training.pt": checkpoints[0].content}, checkpoint_every=4)
        (history,) = train(task(resumed), context, form())
        assert [row["iteration"] for row in history.rows] == [0, 3, 6]
        ends.append(weights(resumed))
        assert same(ends[-1], weights(model))
    assert same(*ends)


def test_names_of_trainings_and_callbacks_are_told_apart():
    context = RunContext()
    train(task(network(), 1), context)
    with pytest.raises(ValueError, match="already a training 'training'"):
        train(task(network(), 1), context)
    with pytest.raises(ValueError, match="two callbacks of one class"):
        train(task(network(), 1), RunContext(), callbacks=[Recorder(), Recorder()])


def module_state() -> dict[tuple[str, str], object]:
    """What stands at the top of the project's modules: identity, and content of containers."""
    rooms = ("Layers", "Models", "Pruners", "Experiments", "Utils")
    return {
        (name, variable): (id(value), repr(value) if isinstance(value, dict | list | set) else None)
        for name, module in sorted(sys.modules.items())
        if name.partition(".")[0] in rooms
        for variable, value in vars(module).items()
        if not variable.startswith("__") and not isinstance(value, ModuleType)
    }


@pytest.mark.parametrize("words", [
    ["--pruner=snip"], ["--pruner=magnitude", "--experiment=gradual", "--prune_every=3"],
    ["--pruner=random", "--experiment=dynamic", "--exchange_every=3"],
])  # fmt: skip
def test_no_state_of_a_module_changes_while_a_run_trains(tmp_path, words):
    words = [*words, "--data=digits", "--iterations=9", "--lr_drops", "--save=0", f"--out_path={tmp_path}"]
    assert main.main([*words, "--sample=0"]) == 0
    before = module_state()
    assert main.main([*words, "--sample=1"]) == 0
    assert module_state() == before


def test_the_default_form_has_no_effect_of_its_own():
    model = network()
    form = WeightForm()
    before = weights(model)
    with form.holding(model):
        form.before_forward()
        form.after_backward()
        form.after_step()
        assert form.penalty() is None and form.members == 1
        kernels = [weight for weight in model.parameters() if weight.dim() > 1]
        assert [id(p) for p in form.parameters().kernels] == list(map(id, kernels))
    assert same(weights(model), before)
