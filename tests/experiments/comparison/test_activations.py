"""Activations: where they are read, and tables of similar networks against planted permutations."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import shared
from torch import Tensor, nn

from Experiments.comparison.activations.moments import observe
from Experiments.comparison.activations.recording import Recorder, record
from Experiments.comparison.activations.tables import activation_tables
from Experiments.comparison.networks import Network
from Layers import MaskedBatchNorm2d, MaskedConv2d, MaskedLinear, prunable
from Utils.errors import UserError


def network(model: nn.Module, shape: tuple[int, ...], name: str = "a", group: str = "a", sample: int = 0) -> Network:
    return Network(name, group, sample, model.eval(), shape, "", "")


def dense(*weights: np.ndarray, bias: bool = False) -> nn.Sequential:
    """A ReLU network without its last ReLU, with zeros masked."""
    layers: list[nn.Module] = [nn.Flatten()]
    for weight in weights:
        layer = MaskedLinear(weight.shape[1], weight.shape[0], bias=bias)
        layer.weight.data = torch.as_tensor(weight, dtype=torch.float32)
        layer.weight_mask.copy_(torch.as_tensor(weight != 0))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Mixed(nn.Module):
    """Nonlinearities as modules, functions and in place; pooling before one; a sum after a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = MaskedConv2d(2, 3, 3, padding=1)
        self.norm = MaskedBatchNorm2d(3)
        self.pooled = MaskedConv2d(3, 4, 3)
        self.left = MaskedConv2d(4, 4, 3, padding=1)
        self.head = MaskedLinear(4, 5)
        self.norm.running_mean += torch.rand(3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.norm(self.first(x)))
        x = torch.tanh(F.max_pool2d(self.pooled(x), 2))
        x = F.relu(x + self.left(x))
        return self.head(x.mean((2, 3)))


def test_activations_are_those_of_forward_hooks_before_and_after_the_nonlinearity():
    model, x, outputs = Mixed(), torch.randn(6, 2, 8, 8), {}
    for name in ("first", "norm", "pooled", "left", "head"):
        getattr(model, name).register_forward_hook(
            lambda module, inputs, output, name=name: outputs.update({name: output.detach().clone()})
        )
    member = network(model, (2, 8, 8))
    before, after = Recorder(member, "before")(x), Recorder(member, "after")(x)
    model(x)
    for name in ("first", "pooled", "left", "head"):
        torch.testing.assert_close(before[name], outputs[name])
    torch.testing.assert_close(after["first"], outputs["norm"].relu())
    torch.testing.assert_close(after["pooled"], F.max_pool2d(outputs["pooled"], 2).tanh())
    torch.testing.assert_close(after["left"], outputs["left"], msg="a sum is not this layer's alone")
    torch.testing.assert_close(after["head"], outputs["head"])


def test_a_nonlinearity_in_place_does_not_change_what_was_read_before_it():
    model, x = nn.Sequential(MaskedLinear(5, 9), nn.ReLU(inplace=True)), torch.randn(8, 5)
    (values,) = Recorder(network(model, (5,)), "before")(x).values()
    assert (values < 0).any()
    torch.testing.assert_close(values, model[0](x).detach())


def test_a_layer_that_two_operations_read_has_its_own_output():
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = MaskedLinear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(x)
            return F.relu(x) + torch.tanh(x)

    model, x = Forked(), torch.randn(8, 5)
    torch.testing.assert_close(Recorder(network(model, (5,)))(x)["layer"], model.layer(x).detach())


def test_units_of_dense_layers_on_sequences_are_the_last_axis():
    model = nn.Sequential(MaskedLinear(5, 3), nn.ReLU())
    x = torch.randn(4, 7, 5)
    (values,) = Recorder(network(model, (7, 5)))(x).values()
    torch.testing.assert_close(values, model(x).movedim(2, 1))


def test_planted_networks_are_permuted_twins():
    archive = np.load(shared("golden/planted_mlp.npz"))
    twins = [
        network(dense(*(archive[f"{name}{layer}"] for layer in range(3))), (24,), name, sample=sample)
        for sample, name in enumerate("AC")
    ]
    tables = activation_tables(twins, torch.as_tensor(archive["X"], dtype=torch.float32), shown=[("A", "C")])
    rows = tables["activation_similarity"].query("first == 'A' and second == 'C'")
    np.testing.assert_allclose(rows["one_to_one"], [1, 0.875, 1], atol=1e-6)
    np.testing.assert_allclose(rows["live_one_to_one"], 1, atol=1e-6)
    assert rows["first_live"].tolist() == rows["second_live"].tolist() == [16, 14, 5]
    units = tables["matched_units"]
    for place, layer in enumerate(units["layer"].unique()[:2]):
        live = units[(units["layer"] == layer) & ~units["is_dead"]]
        planted = archive[f"p{place + 1}"]
        assert (planted[live["partner"].to_numpy()] == live["unit"].to_numpy()).all()


def test_permuted_twins_of_convolutions_and_dense_layers_are_recovered():
    model = nn.Sequential(
        MaskedConv2d(2, 6, 3), nn.ReLU(), MaskedConv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), MaskedLinear(5 * 4, 3)
    )
    generator = torch.Generator().manual_seed(0)
    for weight, mask in prunable(model).values():
        mask.copy_(torch.rand(mask.shape, generator=generator) < 0.8)
        weight.data = torch.randn(weight.shape, generator=generator)
    twin = copy.deepcopy(model)
    first, second = torch.randperm(6, generator=generator), torch.randperm(5, generator=generator)
    for kind in ("weight", "weight_mask"):
        layers = [getattr(twin[index], kind).data for index in (0, 2, 5)]
        layers[1].copy_(layers[1][second][:, first].clone())
        layers[0].copy_(layers[0][first].clone())
        layers[2].copy_(layers[2].unflatten(1, (5, 4))[:, second].flatten(1).clone())
    for index, order in ((0, first), (2, second)):
        twin[index].bias.data = twin[index].bias.data[order].clone()
    networks = [network(model, (2, 6, 6), "one"), network(twin, (2, 6, 6), "two", sample=1)]
    inputs = torch.randn(50, 2, 6, 6, generator=generator)
    tables = activation_tables(networks, inputs, shown=[("one", "two")], batch_size=7)
    rows = tables["activation_similarity"].query("first == 'one' and second == 'two'")
    for column in ("one_to_one", "semi", "cka", "unbiased_cka"):
        np.testing.assert_allclose(rows[column], 1, atol=1e-5)
    units = tables["matched_units"]
    for layer, order in (("0", first), ("2", second)):
        assert torch.equal(
            order[torch.tensor(units[units["layer"] == layer]["partner"].tolist())], torch.arange(len(order))
        )
    matrix = (
        tables["unit_correlations"].query("layer == '0'").pivot(index="row", columns="column", values="correlation")
    )
    np.testing.assert_allclose(np.diag(matrix), 1)


def test_scores_of_a_network_with_itself_leave_out_the_diagonal():
    random = torch.Generator().manual_seed(3)
    model = dense(torch.randn(6, 4, generator=random).numpy(), np.ones((2, 6)))
    model[1].weight.data[1] = 2 * model[1].weight.data[0]  # two units that do the same
    member = network(model, (4,))
    inputs = torch.randn(100, 4, generator=random)
    row = activation_tables([member], inputs)["activation_similarity"].iloc[0]
    correlation = observe([member], inputs)["1"].between(0, 0)
    assert correlation[0, 1] == pytest.approx(1) and 0 < row["one_to_one"] < row["semi"] < 1
    np.testing.assert_allclose(np.diag(correlation), 1)


def test_the_size_of_a_batch_changes_nothing():
    members = [network(Mixed(), (2, 8, 8), name, name) for name in "ab"]
    inputs = torch.randn(11, 2, 8, 8)
    whole, parts = (activation_tables(members, inputs, batch_size=size)["activation_similarity"] for size in (None, 3))
    numbers = ["one_to_one", "semi", "cka", "unbiased_cka"]
    np.testing.assert_allclose(whole[numbers], parts[numbers], atol=1e-5)
    assert list(whole["first"].unique()) == ["a", "b"] and len(whole) == 4 * 4


def test_networks_that_cannot_be_compared_are_named():
    one = network(dense(np.ones((3, 4)), np.ones((2, 3))), (4,), "one")
    two = network(dense(np.ones((5, 4)), np.ones((2, 5))), (4,), "two")
    with pytest.raises(UserError, match=r"one and two differ: layer 1 is 1 .3x4. and 1 .5x4."):
        next(record([one, two], torch.ones(2, 4)))
    one.model[1].weight.data[0, 0] = float("nan")
    with pytest.raises(UserError, match="one has activations in layer 1 that are not finite"):
        next(record([one], torch.ones(2, 4)))
    shared_layer = MaskedLinear(4, 4)
    with pytest.raises(UserError, match="twice calls its layer 0 twice"):
        Recorder(network(nn.Sequential(shared_layer, nn.ReLU(), shared_layer), (4,), "twice"))
