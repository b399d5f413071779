"""Pruning a trained network without training on, against published counts and by hand."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from conftest import rows_of, run_folder
from safetensors.torch import load_file

import Experiments.runs.train_then_prune as afterwards
import main
from Layers import prunable
from Models import build
from Utils.data import dataset
from Utils.data.image_spec import ImageSpec

WORDS = ["--experiment=train-then-prune", "--data=digits", "--iterations=60", "--evaluate_every=20"]


def call(tmp_path: Path, *words: str) -> pd.Series:
    """Run one network; its row."""
    assert main.main([*WORDS, *words, f"--out_path={tmp_path}"]) == 0
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    return row


def test_published_counts():
    """Golden fact 26."""
    model = build("mlp", generator=torch.Generator().manual_seed(0))
    hidden = afterwards.hidden_layers(model)
    masks = afterwards.weight_masks(model, hidden, Decimal("0.25"))
    assert [int((~masks[name]).sum()) for name in hidden] == [196_000, 250_000, 125_000, 25_000]
    units = afterwards.unit_masks(model, hidden, Decimal("0.99"))
    assert [int((~units[name].any(1)).sum()) for name in hidden] == [990, 990, 495, 198]
    last = (set(prunable(model)) - set(hidden)).pop()
    assert masks[last].all() and units[last].all() and len(hidden) == 4
    for name in hidden:
        weight = prunable(model)[name][0].detach().numpy()
        assert np.abs(weight[masks[name].numpy()]).min() >= np.abs(weight[~masks[name].numpy()]).max()
        norms = np.linalg.norm(weight.astype(np.float64), axis=1)
        kept = units[name].any(1).numpy()
        assert norms[kept].min() >= norms[~kept].max() - 1e-6


def test_the_table_is_that_of_the_pruned_trained_network(tmp_path):
    row = call(tmp_path, "--k_vals", "0", "0.5", "0.9", "--validation=200")
    table = pd.read_csv(run_folder(tmp_path, row) / "results.csv")
    assert list(table.columns) == [
        "Sparsity (%)", "Test Accuracy (Weight)", "Test Accuracy (Unit)", "Test Loss: (Weight)", "Test Loss: (Unit)"
    ]  # fmt: skip
    assert table["Sparsity (%)"].tolist() == [0, 50, 90]
    model = build("lenet300100").eval()
    weights = load_file(run_folder(tmp_path, row) / "weights.safetensors")
    model.load_state_dict({**model.state_dict(), **weights})
    loaded = dataset.load("digits", "none", ImageSpec((1, 28, 28)))
    for k, line in zip((0.0, 0.5, 0.9), table.itertuples(index=False), strict=True):
        for unit, (accuracy, loss) in {"weight": (line[1], line[3]), "unit": (line[2], line[4])}.items():
            pruned = {name: value.clone() for name, value in weights.items()}
            for name in ("fc1.weight", "fc2.weight"):
                weight = pruned[name]
                sizes = weight.abs().flatten() if unit == "weight" else weight.norm(dim=1)
                gone = sizes.argsort()[: int(len(sizes) * k)]
                (weight.view(-1) if unit == "weight" else weight)[gone] = 0
            model.load_state_dict({**model.state_dict(), **pruned})
            outputs = model(loaded.normalised(loaded.test.images))
            assert accuracy == pytest.approx((outputs.argmax(1) == loaded.test.labels).float().mean().item(), abs=1e-4)
            assert loss == pytest.approx(F.cross_entropy(outputs, loaded.test.labels).item(), abs=2e-4)
    assert row["pruner"] == "dense" and row["top1"] == pytest.approx(table.iloc[0, 1], abs=1e-4)


def test_the_best_weights_are_those_of_the_lowest_validation_loss(tmp_path):
    # So high a rate that the last weights are rarely the best.
    words = ["--lr=1.0", "--evaluate_every=5", "--lr_schedule=constant"]
    best, last = call(tmp_path / "best", *words), call(tmp_path / "last", *words, "--keep_best=0", "--validation=239")
    table = pd.read_csv(run_folder(tmp_path / "best", best) / "training.csv")[1:]
    row = table.loc[table["val_loss"].idxmin()]
    assert best["best_iteration"] == row["iteration"]
    assert (best["top1"], best["test_loss"]) == pytest.approx((row["top1"], row["test_loss"]))
    assert last["test_loss"] == pytest.approx(table["test_loss"].iloc[-1])


def test_regularisation_is_that_of_its_formula(tmp_path):
    """One step of plain SGD: w - lr (g + l1 sign(w) + 2 l2 w) in hidden layers, w - lr g in the last."""
    words = ["--iterations=1", "--evaluate_every=1", "--optimizer=sgd", "--weight_decay=0", "--lr=0.5", "--keep_best=0"]
    states = [
        load_file(run_folder(tmp_path / name, call(tmp_path / name, *words, *more)) / "weights.safetensors")
        for name, more in (("plain", []), ("l1", ["--l1_reg=0.01"]), ("l2", ["--l2_reg=0.02"]))
    ]
    from Utils import randomness

    start = build("lenet300100", generator=randomness.generator(0, "initial weights"))
    plain, first, second = states
    for name, (weight, _) in prunable(start).items():
        weight = weight.detach()
        is_hidden = name != "fc3.weight"
        torch.testing.assert_close(first[name], plain[name] - 0.5 * 0.01 * weight.sign() * is_hidden, atol=1e-6, rtol=0)
        torch.testing.assert_close(second[name], plain[name] - 0.5 * 2 * 0.02 * weight * is_hidden, atol=1e-6, rtol=0)


def test_convolutions_and_the_usual_validation(tmp_path):
    row = call(tmp_path, "--architecture=lenet5", "--k_vals=0.5,0.9")
    assert "--k_vals=0.5,0.9" in row["settings"] and "--validation=239" in row["settings"]
    table = pd.read_csv(run_folder(tmp_path, row) / "results.csv")
    assert len(table) == 2 and table.notna().all().all()


def test_equal_shares_are_one(tmp_path):
    runs = {call(tmp_path / words, f"--k_vals={words}")["run"] for words in ("0.5,0.50", "0.5")}
    assert len(runs) == 1
    assert len(pd.read_csv(next((tmp_path / "0.5,0.50").rglob("results.csv")))) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--k_vals=1"], "--k_vals must be fractions, from 0 to less than 1"),
        (["--k_vals=half"], "--k_vals must be a finite number, not 'half'"),
        (["--k_vals="], "--k_vals must be fractions"),
        (["--validation=0"], "--validation=0 leaves no images to choose the best weights by; add --keep_best=0"),
        (["--pruner=snip"], "--pruner has no effect with --experiment=train-then-prune"),
        (["--target_sparsity=0.5"], "--target_sparsity has no effect with --experiment=train-then-prune"),
        (["--l1_reg=-1"], "--l1_reg must be at least 0"),
    ],
)
def test_mistakes(tmp_path, capsys, words, message):
    assert main.main([*WORDS, *words, f"--out_path={tmp_path}"]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.rglob("*.csv"))
