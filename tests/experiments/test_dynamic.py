"""Exchanging weights while training, against brute force and the papers' formulas."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from conftest import make_batches, rows_of, run_folder
from torch import nn

import Experiments.runs.dynamic as dynamic
import main
from Layers import MaskedLinear, Masks, prunable, unmask
from Models import build
from Pruners.schedules.regrowth import drop_and_grow, drop_share, gradient_growth, random_growth

WORDS = ["--experiment=dynamic", "--data=digits", "--iterations=60", "--evaluate_every=20", "--target_sparsity=0.9",
         "--pruner=random/erk", "--exchange_every=10"]  # fmt: skip


def test_share_is_half_a_cosine():
    assert [drop_share(0.3, step, 100) for step in (0, 50, 99, 100, 150)] == pytest.approx(
        [0.3, 0.15, 0.15 * (1 + math.cos(0.99 * math.pi)), 0, 0]
    )


def test_an_exchange_by_hand():
    model = nn.Sequential(MaskedLinear(6, 1, bias=False))
    weight, mask = prunable(model)["0.weight"]
    weight.data = torch.tensor([[0.5, -0.1, 0.3, 9.0, 8.0, -0.4]])
    mask[0, 3:5] = False
    growth = {"0.weight": torch.tensor([[0.0, 0.0, 5.0, 2.0, 1.0, 0.0]])}
    # Of four kept the two smallest go, entries 1 and 2; entries 2 (as it was) and 3 (from zero) return.
    new = drop_and_grow(model, 0.5, growth)
    assert mask.tolist() == [[True, False, True, True, False, True]]
    assert new["0.weight"].tolist() == [[False, False, False, True, False, False]]
    assert weight.detach().flatten().tolist() == pytest.approx([0.5, -0.1, 0.3, 0.0, 8.0, -0.4])
    mask.fill_(True)
    drop_and_grow(model, 0.5, growth)
    assert mask.all(), "a dense layer has nothing to exchange"


def test_an_exchange_in_a_layer_with_few_pruned_entries():
    """All that the paper drops compete with the pruned entry to return: two of three do, the steepest."""
    model = nn.Sequential(MaskedLinear(6, 1, bias=False))
    weight, mask = prunable(model)["0.weight"]
    weight.data = torch.tensor([[0.5, -0.1, 0.3, 9.0, 0.8, -0.4]])
    mask[0, 3] = False
    new = drop_and_grow(model, 0.4, {"0.weight": torch.tensor([[0.0, 1.0, 3.0, 2.0, 0.0, 0.0]])})
    assert mask.tolist() == [[True, False, True, True, True, True]]
    assert new["0.weight"].tolist() == [[False, False, False, True, False, False]]
    assert weight.detach().flatten().tolist() == pytest.approx([0.5, -0.1, 0.3, 0.0, 0.8, -0.4])


def test_growth_by_gradient_is_that_of_a_network_with_zeros():
    model = build("lenet5", generator=torch.Generator().manual_seed(0))
    for _, mask in prunable(model).values():
        mask.copy_(torch.rand(mask.shape) < 0.3)
    ((images, labels),) = batches = make_batches((3, 32, 32), count=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    growth = gradient_growth(model, batches)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    plain = unmask(model).train()
    F.cross_entropy(plain(images), labels).backward()
    for name, scores in growth.items():
        torch.testing.assert_close(scores, plain.get_parameter(name).grad.abs(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_counts_never_change(seed):
    generator = torch.Generator().manual_seed(seed)
    model = build("lenet300100", generator=generator)
    for _, mask in prunable(model).values():
        mask.copy_(torch.rand(mask.shape, generator=generator) < 0.1 * (seed + 1))
    before = Masks.of(model)
    drop_and_grow(model, 0.4, random_growth(model, generator))
    after = Masks.of(model)
    assert [int(m.sum()) for m in after.values()] == [int(m.sum()) for m in before.values()] and after != before


@pytest.mark.parametrize("grow", ["rigl", "set"])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_run(tmp_path, monkeypatch, grow, optimizer):
    news, original = [], dynamic.drop_and_grow

    def spied(model, fraction, growth):
        new = original(model, fraction, growth)
        news.append((fraction, new))
        return new

    monkeypatch.setattr(dynamic, "drop_and_grow", spied)
    original_forget = dynamic.Exchanges._forget

    def checked(self, optimizer, new):
        original_forget(self, optimizer, new)
        for name, (parameter, _) in prunable(self.trial.model).items():
            states = [v for v in optimizer.state[parameter].values() if v.shape == parameter.shape]
            assert states and all(not state[new[name]].any() and state.any() for state in states)

    monkeypatch.setattr(dynamic.Exchanges, "_forget", checked)
    lr = ["--lr=0.001"] if optimizer == "adam" else []
    row = call(tmp_path, f"--grow={grow}", f"--optimizer={optimizer}", *lr)
    assert [fraction for fraction, _ in news] == pytest.approx([drop_share(0.3, step, 45) for step in (10, 20, 30, 40)])
    table = pd.read_csv(run_folder(tmp_path, row) / "sparsity.csv")
    assert table["iteration"].tolist() == [0, 10, 20, 30, 40] and (table["kept_direct"] == 26_620).all()
    assert table["overlap"][0] == 1 and (table["overlap"][1:] < 1).all()
    assert row["kept_direct"] == row["target_kept"] == 26_620 and row["grow"] in ("gradient", "random")


def call(tmp_path: Path, *words: str) -> pd.Series:
    """Run one network; its row."""
    assert main.main([*WORDS, *words, f"--out_path={tmp_path}"]) == 0
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    return row


def test_without_exchange_it_is_a_single_shot(tmp_path):
    ours = call(tmp_path / "dynamic", "--drop_fraction=0")
    assert main.main([*WORDS[1:-1], f"--out_path={tmp_path / 'single'}"]) == 0
    (theirs,) = (row for _, row in rows_of(tmp_path / "single").iterrows())
    assert (ours["top1"], ours["test_loss"], ours["kept_effective"]) == (
        theirs["top1"], theirs["test_loss"], theirs["kept_effective"]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train=0"], "--experiment=dynamic changes masks during training"),
        (["--grow=grad"], "(valid: gradient, random)"),
        (["--drop_fraction=1.5"], "--drop_fraction must be a fraction of the weights, from 0 to 1"),
        (["--keep_alive"], "--keep_alive has no effect with --experiment=dynamic"),
    ],
)
def test_mistakes(tmp_path, capsys, words, message):
    assert main.main([*WORDS, *words, f"--out_path={tmp_path}"]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.rglob("*.csv"))
