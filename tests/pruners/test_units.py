"""Whole units: their scores, what goes with them, and what is saved, against networks cut by hand."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import make_batches, rows_of, run_folder
from torch import nn

import main
from Layers import Masks, mask_model, prunable
from Models import build
from Pruners import make_pruner
from Pruners.registry import UNIT_QUOTAS
from Pruners.units import allocate_units, groups_of, saved_macs, score_units
from Utils.config.target import Target
from Utils.connectivity import effective_masks
from Utils.errors import UserError
from Utils.sparsity.measure import measure

RGB = (3, 32, 32)


def seeded(name: str, *arguments, **options) -> nn.Module:
    return build(name, *arguments, generator=torch.Generator().manual_seed(0), **options)


def scored(model: nn.Module, shape: tuple[int, ...], pruner: str = "l2", **options) -> dict:
    return score_units(make_pruner(pruner), model, make_batches(shape, 2, 8), Target.of("0.5"), shape, **options)


def test_scores_are_sums_over_units_by_hand():
    model = seeded("lenet5")
    batches = make_batches(RGB, 1, 16)
    ((images, labels),) = batches
    plain = copy.deepcopy(model).train()
    F.cross_entropy(plain(images), labels).backward()
    weight = plain.get_parameter("conv1.weight")
    products = (weight.detach() * weight.grad).flatten(1)
    for pruner, expected in (
        ("3sp", products.sum(1).abs()), ("snip", products.abs().sum(1)),
        ("mag", weight.detach().abs().flatten(1).sum(1)),
        ("l2", weight.detach().flatten(1).norm(dim=1)), ("l1", weight.detach().flatten(1).norm(1, dim=1)),
    ):  # fmt: skip
        found = score_units(make_pruner(pruner), model, batches, Target.of("0.5"), RGB)["conv1.weight"]
        torch.testing.assert_close(found.float(), expected.float(), rtol=1e-3, atol=1e-6)


def test_saved_operations_are_counted_exactly():
    model = seeded("lenet5")
    by_place = saved_macs(model, groups_of(model, RGB), RGB)
    saved = {name: int(places[0]) for name, places in by_place.items()}
    assert all(bool((places == places[0]).all()) for places in by_place.values())
    own = {name: tuple(weight.shape) for name, (weight, _) in prunable(model).items()}
    places, after = {"conv1.weight": 28 * 28, "conv2.weight": 10 * 10}, {"conv1.weight": 5 * 5 * own["conv2.weight"][0]}
    assert saved["conv1.weight"] == 75 * places["conv1.weight"] + after["conv1.weight"] * 100
    assert saved["conv2.weight"] == own["conv2.weight"][1] * 25 * 100 + 25 * own["fc1.weight"][0]
    assert saved["fc1.weight"] == own["fc1.weight"][1] + own["fc2.weight"][0]
    aware, plain = scored(model, RGB, compute_aware=True), scored(model, RGB)
    for name in plain:
        torch.testing.assert_close(aware[name] * saved[name], plain[name])
    assert all(bool(mask.all()) for _, mask in prunable(model).values()), "the masks are as they were"


def test_saved_operations_depend_on_the_layers_that_read_a_unit():
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.wide, self.head = nn.Linear(3, 4), nn.Linear(2, 5), nn.Linear(7, 2)

        def forward(self, x):
            first, second = self.stem(x).chunk(2, 1)
            return self.head(torch.cat([self.wide(first), second], 1))

    model = mask_model(Halves(), (3,))
    saved = saved_macs(model, groups_of(model, (3,)), (3,))
    assert saved["stem.weight"].tolist() == [3 + 5, 3 + 5, 3 + 2, 3 + 2]
    assert saved["wide.weight"].tolist() == [2 + 2] * 5


@pytest.mark.parametrize("sparsity", ["0", "0.3", "0.5", "0.9"])
@pytest.mark.parametrize("name", ["lenet300100", "lenet5", "lottery/resnet20"])
def test_direct_counts_units_exactly(name, sparsity):
    model = seeded(name)
    shape = (1, 28, 28) if name == "lenet300100" else RGB
    groups, target = groups_of(model, shape).groups, Target.of(sparsity)
    masks = allocate_units(model, scored(model, shape), target, shape)
    total = sum(len(prunable(model)[name][0]) for name in groups)
    kept = {name: masks[name].flatten(1).any(1) for name in groups}
    assert sum(int(rows.sum()) for rows in kept.values()) == target.kept(total)
    assert all(rows.any() for rows in kept.values()), "no layer loses all units"
    for name, group in groups.items():
        for member in group.places:
            assert torch.equal(masks[member].flatten(1).any(1), kept[name]), "what is added goes together"
    last = list(masks)[-1]
    assert masks[last].any(1).all(), "outputs stay"
    assert masks == Masks(effective_masks(model, shape, masks, "graph")), "what reads only what is gone, is gone"


def test_units_are_cut_as_if_the_network_were_smaller():
    """The small dense network, made by hand, has as many weights and operations, and the same outputs."""
    model = seeded("lenet300100").eval()
    for name in ("fc1_norm", "fc2_norm", "fc3_norm"):
        nn.init.uniform_(model.get_parameter(f"{name}.bias"))
        nn.init.uniform_(model.get_buffer(f"{name}.running_mean"))
    masks = allocate_units(model, scored(model, (1, 28, 28), "mag"), "0.6", (1, 28, 28))
    masks.install(model)
    first, second = (masks[f"fc{number}.weight"].any(1) for number in (1, 2))
    rows = {"fc1": first, "fc2": second, "fc3": torch.ones(10, dtype=torch.bool)}
    columns = {"fc1": torch.ones(784, dtype=torch.bool), "fc2": first, "fc3": second}
    x = images = torch.rand(5, 1, 28, 28)
    x = x.flatten(1)
    weights = 0
    for name in rows:
        layer, norm = model.get_submodule(name), model.get_submodule(f"{name}_norm")
        weight = layer.weight[rows[name]][:, columns[name]]
        weights += weight.numel()
        x = F.linear(x, weight, layer.bias[rows[name]])
        mean, variance = (value[rows[name]] for value in (norm.running_mean, norm.running_var))
        x = F.batch_norm(x, mean, variance, norm.weight[rows[name]], norm.bias[rows[name]], eps=norm.eps)
        x = F.relu(x) if name != "fc3" else x
    torch.testing.assert_close(model(images), x, rtol=1e-4, atol=1e-5)
    assert weights == masks.kept == measure(model, (1, 28, 28)).totals["effective_macs"]


@pytest.mark.parametrize("sparsity", ["0.2", "0.5", "0.9"])
@pytest.mark.parametrize("name", ["lenet300100", "lenet5"])
def test_effective_keeps_the_fewest_units_that_reach_the_target(name, sparsity):
    model = seeded(name)
    shape = (1, 28, 28) if name == "lenet300100" else RGB
    scores = scored(model, shape)
    masks = allocate_units(model, scores, sparsity, shape, "effective")
    groups, total = groups_of(model, shape).groups, masks.total
    wanted = Target.of(sparsity).kept(total)
    kept = sum(int(masks[name].flatten(1).any(1).sum()) for name in groups)
    units = sum(len(scores[name]) for name in scores)

    def effective(count: int) -> int:
        found = allocate_units(model, scores, Target.of(str((units - count + 0.5) / units)), shape)
        assert sum(int(found[name].flatten(1).any(1).sum()) for name in groups) == count
        return Masks(effective_masks(model, shape, found)).kept

    assert effective(kept) >= wanted > effective(kept - 1)


def test_a_network_without_removable_units_is_refused():
    with pytest.raises(UserError, match="no unit of Sequential can be removed; prune its weights"):
        groups_of(mask_model(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2)), (1, 2, 2))


def test_infeasible_requests_say_what_is_reachable():
    model = seeded("lenet300100")
    scores = scored(model, (1, 28, 28))
    with pytest.raises(UserError, match=r"3 of 400 units cannot be kept|1 of 400 units cannot be kept.*at most 0.995"):
        allocate_units(model, scores, "0.9975", (1, 28, 28))
    masks = allocate_units(model, scores, "0.995", (1, 28, 28))
    assert [int(masks[name].any(1).sum()) for name in ("fc1.weight", "fc2.weight")] == [1, 1]
    least = allocate_units(model, scores, "0.99999", (1, 28, 28), "effective")
    assert least == masks and least.kept == 784 + 1 + 10, "each layer keeps its best unit"
    padded = mask_model(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(2, 2)), (1, 1, 1))
    with pytest.raises(UserError, match=r"only 6 effective ones to begin with; ask for .* at least 0.727273"):
        allocate_units(padded, {"0.weight": torch.rand(2)}, "0.5", (1, 1, 1), "effective")
    grouped = mask_model(
        nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 1, groups=4), nn.Flatten(), nn.Linear(8, 2)), (1, 1, 1)
    )
    with pytest.raises(UserError, match=r"4 of 16 units .*: 8 must stay, .* each group of a conv.* of at most 0.5$"):
        allocate_units(grouped, {"0.weight": torch.rand(8), "1.weight": torch.rand(8)}, "0.75", (1, 1, 1))
    masks = allocate_units(grouped, {"0.weight": torch.rand(8), "1.weight": torch.rand(8)}, "0.5", (1, 1, 1))
    assert masks["0.weight"].flatten().reshape(4, 2).sum(1).tolist() == [1] * 4
    assert masks["1.weight"].flatten(1).sum(1).reshape(4, 2).sum(1).tolist() == [1] * 4
    for quota in ("erk", "per_unit", "uniform_plus", "structured", "snip"):
        with pytest.raises(UserError, match="shares out weights, not units"):
            scored(model, (1, 28, 28), f"l2/{quota}")


@pytest.mark.parametrize("pruner", ["random", "synflow", "snip_iterative", "force"])
def test_narrow_layers_are_not_emptied_first(pruner):
    """Places in an order, or random numbers, would add up to more the more weights a unit has."""
    masks = allocate_units(
        seeded("lenet300100"), scored(seeded("lenet300100"), (1, 28, 28), pruner), "0.5", (1, 28, 28)
    )
    assert all(int(masks[name].any(1).sum()) > 10 for name in ("fc1.weight", "fc2.weight"))


def test_pruned_weights_count_for_nothing():
    model = seeded("lenet300100")
    mask = prunable(model)["fc2.weight"][1]
    mask[:, :250] = False
    weight = prunable(model)["fc2.weight"][0].detach()
    found = score_units(make_pruner("mag"), model, (), Target.of("0.5"), (1, 28, 28))["fc2.weight"]
    torch.testing.assert_close(found.float(), (weight.abs() * mask).sum(1))


def test_more_units_than_are_left():
    model = seeded("lenet300100")
    prunable(model)["fc1.weight"][1][:200] = False
    with pytest.raises(UserError, match=r"320 of 400 units cannot be kept: only 200 are left .* at least 0.5"):
        allocate_units(model, scored(model, (1, 28, 28)), "0.2", (1, 28, 28))


@pytest.mark.parametrize("quota", UNIT_QUOTAS)
def test_quotas_of_units(quota):
    model = seeded("vgg16")
    masks = allocate_units(model, scored(model, RGB, f"random/{quota}"), "0.5", RGB)
    densities = [float(masks[name].flatten(1).any(1).float().mean()) for name in groups_of(model, RGB).groups]
    assert quota != "uniform" or all(abs(density - 0.5) < 0.02 for density in densities)


def call(tmp_path: Path, *words: str):
    assert main.main([*words, "--data=digits", f"--out_path={tmp_path}"]) == 0
    (row,) = (row for _, row in rows_of(tmp_path).iterrows() if row["pruner"] != "dense")
    return row


@pytest.mark.parametrize("pruner", ["3sp", "snip", "magnitude", "l2", "synflow", "random/uniform"])
def test_a_run_with_units(tmp_path, pruner):
    words = ["--prune_unit=unit", "--target_sparsity=0.5", "--iterations=5", f"--pruner={pruner}"]
    row = call(tmp_path, *words)
    masks = Masks.load(run_folder(tmp_path, row) / "masks.safetensors")
    assert row["target_kept"] == 200 == sum(int(masks[name].any(1).sum()) for name in ("fc1.weight", "fc2.weight"))
    assert row["kept_direct"] == row["kept_effective"] and row["dead_units"] == 200


def test_units_of_depthwise_convolutions(tmp_path):
    """MobileNetV2: a depthwise filter goes with the one before it, and outputs of a stage's blocks go together."""
    words = ["--architecture=imagenet/mobilenet_v2", "--image_size=32", "--pruner=l1", "--pre_iterations=0"]
    row = call(tmp_path, *words, "--train=0", "--prune_unit=unit", "--target_sparsity=0.5")
    assert not row["collapsed"] and row["empty_layers"] == 0
    masks = Masks.load(run_folder(tmp_path, row) / "masks.safetensors")
    kept, before, total = 0, torch.zeros(0), 0
    stages: dict[int, torch.Tensor] = {}
    for name, mask in list(masks.items())[:-1]:  # the last layer is the output
        units = mask.flatten(1).any(1)
        if mask.shape[1] == 1:
            assert torch.equal(units, before)
        elif name.endswith(("conv.2.weight", "1.conv.1.weight")):
            assert torch.equal(units, stages.setdefault(len(units), units))
        else:
            kept, total = kept + int(units.sum()), total + len(units)
        before = units
    kept, total = kept + sum(int(units.sum()) for units in stages.values()), total + sum(stages)
    assert total == 9_128 and kept == row["target_kept"] == 4_564


@pytest.mark.parametrize("experiment", [["gradual", "--ramp=cubic"], ["multishot", "--levels=2"], ["union-mask"]])
def test_units_over_time(tmp_path, experiment):
    words = [f"--experiment={experiment[0]}", *experiment[1:], "--prune_unit=unit", "--pruner=l2"]
    row = call(tmp_path, *words, "--target_sparsity=0.75", "--iterations=40")
    assert row["target_kept"] == 100 and row["dead_units"] == 300 and row["kept_effective"] == row["kept_direct"]


def test_biases_and_normalisation_go_with_their_units(tmp_path):
    words = ["--architecture=lenet5", "--prune_unit=unit", "--pruner=3sp", "--compute_aware", "--prune_bias"]
    row = call(tmp_path, *words, "--target_sparsity=0.5", "--iterations=2")
    masks = Masks.load(run_folder(tmp_path, row) / "masks.safetensors")
    for name in ("conv1", "conv2", "fc1", "fc2"):
        assert torch.equal(masks[f"{name}.bias"], masks[f"{name}.weight"].flatten(1).any(1))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compute_aware"], "--compute_aware has no effect on single weights (--prune_unit=unit)"),
        (["--prune_unit=unit", "--pruner=synflow", "--prune_iterations=5"], "--prune_iterations has no effect with"),
        (["--prune_unit=filter"], "(valid: unit, weight)"),
        (["--prune_unit=unit", "--keep_alive"], "--keep_alive has no effect with --prune_unit=unit"),
        (["--prune_unit=unit", "--pruner=random/erk"], "quota erk shares out weights, not units"),
        (["--prune_unit=unit", "--target_sparsity=0.999"], "ask for a sparsity of at most 0.995"),
    ],
)
def test_mistakes(tmp_path, capsys, words, message):
    assert main.main(["--data=digits", "--iterations=2", *words, f"--out_path={tmp_path}"]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.rglob("*.csv"))
