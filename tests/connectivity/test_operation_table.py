"""Every entry of the operation table against brute force: paths, SynFlow's conservation, unit groups."""

import copy
import math
import operator
from typing import Any

import pytest
import torch
from examples import (
    AS_RECORDED,
    EXAMPLES,
    VARIANTS,
    WITHOUT_RULE,
    Chain,
    Gated,
    Joined,
    dependencies,
    name_of,
)  # fmt: skip
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import path_counts, random_masks, without_biases
from torch import Tensor, nn

from Layers import Masks, prunable
from Layers.masked import Masked
from Pruners.criteria.linearised import linearise
from Pruners.criteria.synflow import flow_scores
from Utils.connectivity import effective_masks
from Utils.connectivity.ops.normalisation import GroupNorm, StatisticsNorm
from Utils.connectivity.ops.op import Linearised
from Utils.connectivity.ops.table import OPERATIONS, called_op
from Utils.connectivity.ops.weight_layers import WeightFunction, WeightLayer
from Utils.connectivity.tracing import trace
from Utils.connectivity.unit_groups import unit_groups
from Utils.errors import UserError

CASES = [*EXAMPLES.items(), *VARIANTS]

every_entry = pytest.mark.parametrize(("key", "example"), CASES, ids=[name_of(key) for key, _ in CASES])
random_draws = given(density=st.sampled_from([0.1, 0.3, 0.6]), seed=st.integers(0, 10**6))


def test_every_entry_has_an_example():
    assert {*EXAMPLES, *AS_RECORDED} == OPERATIONS.keys()
    for key, recorded in AS_RECORDED.items():
        assert OPERATIONS[key] is OPERATIONS[recorded]


@every_entry
def test_examples_use_their_entry(key, example):
    model = Chain(example)
    keys: set[Any] = set()
    for node in trace(model).nodes:
        if node.op == "call_module":
            keys |= {kind for kind in type(model.get_submodule(str(node.target))).__mro__ if kind in OPERATIONS}
        else:
            target = node.args[1] if node.target is getattr else node.target
            keys |= {target, f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', '')}"}
    assert key in keys


@torch.no_grad()
def brute_force(model: Chain, masks: Masks, seed: int) -> dict[str, Tensor]:
    """Effective masks of a chain by the dependencies of its operation at these masks."""
    generator = torch.Generator().manual_seed(seed)
    names = [f"layers.{index}.weight" for index in range(len(model.layers))]
    alive = torch.cat([masks[name].any(1) for name in names])
    model = copy.deepcopy(model).double()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.uniform_(0.1, 1, generator=generator)  # a shift of 0 at the start can be trained
    depends = dependencies(model, alive, generator)
    read = (depends & masks["head.weight"].any(0)[:, None]).any(0).split([math.prod(shape) for shape in model.shapes])
    effective = {name: masks[name] & row[:, None] for name, row in zip(names, read, strict=True)}
    return effective | {"head.weight": masks["head.weight"] & depends.any(1)}


@every_entry
@pytest.mark.parametrize("network", [Chain, Gated])
@settings(max_examples=3, deadline=None)
@random_draws
def test_effective_masks_equal_brute_force(network, key, example, density, seed):
    """Behind a dense layer, and as a factor that opens a product wherever it can be other than zero."""
    model = network(example).eval()
    masks = random_masks(model, density, seed)
    if key in WITHOUT_RULE:
        assert type(OPERATIONS[key]) in (StatisticsNorm, WeightFunction)
        with pytest.raises(UserError, match=r"no rule says how the operation .* of \w+ connects units"):
            effective_masks(model, (3,), masks)
        return
    has_masks = isinstance(model.operation, Masked)
    expected = path_counts(model, masks, (3,)) if has_masks else brute_force(model, masks, seed)
    effective = effective_masks(model, (3,), masks)
    assert effective.keys() == expected.keys()
    for name, mask in expected.items():
        assert torch.equal(effective[name], mask), name


@every_entry
@settings(max_examples=3, deadline=None)
@random_draws
def test_synflow_conserves_or_refuses(key, example, density, seed):
    model = without_biases(copy.deepcopy(Chain(example)))  # biases would be further sources
    random_masks(model, density, seed).install(model)
    if OPERATIONS[key].linearised is Linearised.REFUSED:
        with pytest.raises(UserError, match=r"synflow cannot make .* linear; use another criterion"):
            linearise(model)
            flow_scores(model, (3,))
        return
    for weight, _ in prunable(model).values():
        weight.requires_grad_()  # also of an identity skip, which does not train
    linearise(model)
    totals = {name: score.sum().item() for name, score in flow_scores(model, (3,)).items()}
    before = sum(total for name, total in totals.items() if name.startswith("layers"))
    after = [total for name, total in totals.items() if not name.startswith("layers")]
    if not example.is_linear:
        assert OPERATIONS[key].linearised is Linearised.EXECUTED
    else:
        assert after == pytest.approx([before] * len(after), rel=1e-6, abs=1e-6)


@every_entry
def test_units_that_meet_in_an_entry_are_removed_together(key, example):
    model, op = Joined(example).double().eval(), OPERATIONS[key]
    shape = (2, *example.shape[1:])
    if key in WITHOUT_RULE:
        with pytest.raises(UserError, match="no rule says how the operation"):
            unit_groups(model, shape)
        return
    groups = unit_groups(model, shape).groups.values()
    together: dict[Any, set[tuple[str, int]]] = {}
    for number, group in enumerate(groups):
        for name, places in group.places.items():
            for unit, place in enumerate(places.tolist()):
                if place >= 0:
                    together.setdefault((number, place), set()).add((name.removesuffix(".weight"), unit))
    if isinstance(op, WeightLayer):
        names = ("a.weight", "b.weight", "operation.weight")
        # Units of both layers meet in the same filter if it is depthwise.
        is_depthwise = getattr(example.operation, "groups", 1) == 4
        assert sorted(tuple(group.places) for group in groups) == ([names] if is_depthwise else [(n,) for n in names])
    elif isinstance(op, GroupNorm):  # it leaves a removed unit its place
        assert sorted(together.values(), key=sorted) == [{(layer, unit)} for layer in "ab" for unit in range(4)]
    else:
        assert sorted(together.values(), key=sorted) == sorted(meetings(model, shape), key=sorted)


@torch.no_grad()
def meetings(model: Joined, shape: tuple[int, ...]) -> list[set[tuple[str, int]]]:
    """Units of `a` and `b` in sets that meet in inputs of the head, found by changing one unit after the other."""
    inputs: list[Tensor] = []
    model.head.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0][0].nan_to_num()))
    generator = torch.Generator().manual_seed(0)
    depends: dict[tuple[str, int], Tensor] = {}
    for name, layer in (("a", model.a), ("b", model.b)):
        for unit in range(len(layer.weight)):
            inputs.clear()
            for _ in range(6):
                for other in (model.a, model.b):
                    other.bias.uniform_(-1, 1, generator=generator)
                x = torch.rand(1, *shape, generator=generator, dtype=torch.float64)
                for value in (-9, -3, -0.3, 0.15, 1.7, 4, 9):
                    layer.bias[unit], layer.weight[unit, 0] = value, value
                    model(x)
            found = torch.stack(inputs).unflatten(0, (6, 7))
            depends[name, unit] = ((found.amax(1) - found.amin(1)) > 1e-9).any(0)
    sets = [{unit} for unit, entries in depends.items() if entries.any()]
    for entry in torch.stack(list(depends.values())).T:
        met = {unit for unit, is_met in zip(depends, entry.tolist(), strict=True) if is_met}
        joined = [units for units in sets if units & met]
        sets = [units for units in sets if not units & met] + ([set().union(*joined)] if joined else [])
    return sets


@pytest.mark.parametrize(
    ("function", "key"),
    [
        (torch.Tensor.add, operator.add), (torch.Tensor.__radd__, operator.add), (torch.Tensor.__iadd__, operator.add),
        (torch.Tensor.__sub__, operator.sub), (torch.Tensor.__rsub__, operator.sub),
        (torch.Tensor.__imul__, operator.mul), (torch.Tensor.__rmul__, operator.mul), (torch._C._nn.gelu, nn.GELU),
        (torch.Tensor.relu, nn.ReLU), (torch.conv2d, torch.conv2d), (torch.layer_norm, nn.LayerNorm),
    ],
)  # fmt: skip
def test_functions_that_pytorch_calls_are_found_by_name(function, key):
    assert called_op(function) is OPERATIONS[key]


def test_functions_that_the_table_does_not_know_are_executed():
    assert called_op(torch.cumsum).linearised is Linearised.EXECUTED
