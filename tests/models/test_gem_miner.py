"""Networks of the Gem-Miner experiments: their layers, and scaled skips against plain identity skips."""

import copy
from typing import Any

import pytest
import torch
from commands import execute
from conftest import rows_of
from networks import random_masks
from torch import nn

from Layers import MaskedBatchNorm2d, Masks, prunable
from Models import build
from Pruners.criteria.linearised import linearise
from Pruners.criteria.synflow import flow_scores
from Utils.connectivity import effective_masks
from Utils.connectivity.unit_groups import unit_groups

RGB = (3, 32, 32)


def resnet() -> Any:
    return build("gem-miner/resnet20", generator=torch.Generator().manual_seed(0)).eval()


def with_plain_skips(model: nn.Module) -> Any:
    """A copy whose scaled skips are identities of PyTorch."""
    plain: Any = copy.deepcopy(model)
    for block in plain.blocks:
        if not isinstance(block.skip, nn.Conv2d):
            block.skip = nn.Identity()
    return plain


def synflow_scores(model: nn.Module) -> dict[str, torch.Tensor]:
    model = copy.deepcopy(model)
    linearise(model)
    return flow_scores(model, RGB)


def test_layers_of_the_dense_network():
    model = build("gem-miner/fc", generator=torch.Generator().manual_seed(0))
    assert [tuple(p.shape) for p in model.parameters()] == [(100, 784), *[(100, 100)] * 4, (10, 100)]
    assert not any(name.endswith("bias") for name, _ in model.named_parameters())


def test_layers_of_the_residual_network():
    model = resnet()
    parameters = prunable(model)
    names = ["conv.weight", *(f"blocks.{i}.conv{j}.weight" for i in range(9) for j in (1, 2)), "fc.weight"]
    assert list(parameters) == names
    sizes = [weight.numel() for weight, _ in parameters.values()]
    assert sizes == [432, *[2304] * 6, 4608, *[9216] * 5, 18432, *[36864] * 5, 640] and sum(sizes) == 268_336
    small = [weight for weight, _ in parameters.values() if tuple(weight.shape[2:]) == (3, 3)]
    assert sum(weight.shape[0] * weight.shape[1] for weight in small) == 29_744, "golden fact G13"
    skips = [block.skip.weight for block in model.blocks]
    assert [weight.numel() for weight in skips] == [16, 16, 16, 512, 32, 32, 2048, 64, 64]
    assert all(weight.requires_grad for weight in skips)
    assert [bool((weight == 1).all()) for weight in skips] == [True] * 3 + ([False] + [True] * 2) * 2
    assert [type(model.blocks[index].skip) for index in (3, 6)] == [nn.Conv2d] * 2
    norms = [name for name, module in model.named_modules() if isinstance(module, MaskedBatchNorm2d)]
    assert [name for name in norms if "skip" in name] == ["blocks.3.skip_norm", "blocks.6.skip_norm"]
    assert len(norms) == 1 + 2 * 9 + 2 and model.fc.bias is None


def test_initial_weights_are_the_defaults_of_pytorch():
    """Uniform up to 1 / sqrt(fan_in), the source of signs."""
    for layer in resnet().modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bound = layer.weight[0].numel() ** -0.5
            assert 0.95 * bound < layer.weight.abs().max() <= bound
            assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=4 / layer.weight.numel() ** 0.5)


def test_a_scale_of_one_is_an_identity():
    model = resnet()
    plain = with_plain_skips(model)
    assert sum(isinstance(block.skip, nn.Identity) for block in plain.blocks) == 7
    images = torch.rand(4, *RGB, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(images), plain(images))
    masks = random_masks(model, 0.02, seed=0)
    for kind in ("exact", "graph"):
        found, expected = (effective_masks(network, RGB, masks, kind) for network in (model, plain))
        assert 0 < Masks(found).kept < masks.kept
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    found, expected = (synflow_scores(network) for network in (model, plain))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_units_of_scaled_skips_go_together_as_those_of_plain_ones():
    model = resnet()
    for removable in (None, prunable(model).keys()):
        found, expected = (unit_groups(network, RGB, removable).groups for network in (model, with_plain_skips(model)))
        assert {name: group.places.keys() for name, group in found.items()} == {
            name: group.places.keys() for name, group in expected.items()
        }
        assert len(found["conv.weight"].places) == 4, "the stem and the last layers of three blocks"
        for name, group in expected.items():
            assert found[name].kinds == group.kinds
            assert all(torch.equal(found[name].places[layer], own) for layer, own in group.places.items())


def test_scales_train():
    model = resnet().train()
    scale = model.blocks[1].skip
    recorded: list[torch.Tensor] = []
    scale.register_forward_hook(lambda _, inputs, output: recorded.extend((inputs[0], output)))
    loss = model(torch.rand(4, *RGB)).square().sum()
    source, carried = recorded
    (slope,) = torch.autograd.grad(loss, carried, retain_graph=True)
    loss.backward()
    expected = (slope * source).sum((0, 2, 3))
    torch.testing.assert_close(scale.weight.grad.flatten(), expected, rtol=1e-3, atol=1e-4)
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    torch.testing.assert_close(scale.weight.flatten(), 1 - 0.1 * expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "prunable_weights"), [("gem-miner/fc", 119_400), ("gem-miner/resnet20", 268_336)])
def test_runs_count_what_has_masks(tmp_path, name, prunable_weights):
    words = ["--data=digits", "--iterations=2", "--batch_size=16", "--pruner", "snip", "synflow", "random/erk"]
    assert execute(tmp_path, f"--architecture={name}", "--pruning_type=effective", *words) == 0
    rows = rows_of(tmp_path)
    assert len(rows) == 3 and not rows["error"].any() and (rows["kept_effective"] >= rows["target_kept"]).all()
    assert (rows["prunable"] == prunable_weights).all()
