"""Conservation in magnitude pruning: squared weights at each test, against the stored weights and numpy."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import execute, runs
from safetensors.torch import load_file

import Experiments.theory.runs.imp_conservation as imp
from Layers import Masks, prunable
from Models import build
from Models.weight_inits import reinitialise
from Utils import randomness
from Utils.results.summaries import read_summaries, read_table

WORDS = ["--experiment=imp-conservation", "--data=digits"]


def expected(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, float]]:
    """Size and mean square of the layers of LeNet-300-100."""
    layers = {}
    for layer in ("fc1", "fc2", "fc3"):
        parts = [state[f"{layer}.{name}"].numpy().astype(np.float64).ravel() for name in ("weight", "bias")]
        values = np.concatenate(parts)
        layers[layer] = len(values), float((values**2).mean())
    return layers


def check(table: pd.DataFrame, state: dict[str, torch.Tensor]) -> None:
    columns = (table[name] for name in ("layer", "size", "mean_square"))
    found = {layer: (size, square) for layer, size, square in zip(*columns, strict=True)}
    wanted = expected(state)
    assert found.keys() == wanted.keys()
    for layer, (size, square) in wanted.items():
        assert found[layer][0] == size and found[layer][1] == pytest.approx(square, rel=1e-6)


def initial_state(init: str | None = None) -> dict[str, torch.Tensor]:
    model = build("lenet300100", (1, 28, 28), 10, generator=randomness.generator(0, "initial weights"))
    if init is not None:
        reinitialise(model, init, randomness.generator(0, "new weights"))
    return model.state_dict()


def only_row(results: Path) -> tuple[pd.Series, pd.DataFrame, pd.DataFrame]:
    (row,) = (row for _, row in read_summaries(results).rows.iterrows())
    tables = [read_table(row["folder"], name) for name in ("layer_weights", "slopes")]
    assert tables[0] is not None and tables[1] is not None
    return row, tables[0], tables[1]


def test_weights_at_each_epoch_through_the_command_line(tmp_path):
    assert execute(tmp_path, *WORDS, "--epochs=2", "--lr=0.1") == 0
    row, table, slopes = only_row(tmp_path)
    assert slopes["epoch"].tolist() == [0, 1, 2] and row["pruner"] == "dense" and row["iterations"] == 44
    check(table[table["epoch"] == 0], initial_state())
    check(table[table["epoch"] == 2], load_file(Path(row["folder"]) / "weights.safetensors"))
    for epoch, slope in zip(slopes["epoch"], slopes["slope"], strict=True):
        part = table[table["epoch"] == epoch]
        assert slope == pytest.approx(np.polyfit(-np.log(part["size"]), np.log(part["mean_square"]), 1)[0])
    assert [row["first_slope"], row["last_slope"]] == [slopes["slope"].iloc[0], slopes["slope"].iloc[-1]]
    assert row["first_slope"] != row["last_slope"]


def test_other_initial_weights_and_fewer_tests(tmp_path):
    words = ["--weight_init=xavier-normal", "--iterations=20", "--evaluate_every=10"]
    assert execute(tmp_path, *WORDS, *words) == 0
    row, table, _ = only_row(tmp_path)
    assert sorted(table["iteration"].unique()) == [0, 10, 20]
    check(table[table["iteration"] == 0], initial_state("xavier-normal"))
    drawn = initial_state("xavier-normal")["fc1.weight"]
    assert drawn.square().mean() == pytest.approx(2 / (784 + 300), rel=0.02)
    assert "--weight_init=xavier-normal" in row["settings"]


def test_pruned_entries_do_not_count():
    model = build("lenet300100", (1, 28, 28), 10)
    masks = Masks({name: torch.rand(mask.shape) < 0.3 for name, (_, mask) in prunable(model).items()})
    (masks | Masks.of(model)).install(model)
    Masks(dict(masks) | {"fc2.weight": torch.zeros(100, 300, dtype=torch.bool)}).install(model)
    rows = {row["layer"]: row for row in imp.squared_weights(model)}
    assert rows.keys() == {"fc1", "fc3"}
    weight, mask = prunable(model)["fc1.weight"]
    values = torch.cat([weight[mask], model.get_parameter("fc1.bias")]).double()
    assert rows["fc1"]["size"] == int(mask.sum()) + 300
    assert rows["fc1"]["mean_square"] == pytest.approx(float((values.detach() ** 2).mean()))


def test_the_initial_weights_are_part_of_the_name():
    keys = [run.key() for run in runs(*WORDS, "--weight_init", "unchanged", "xavier-normal", "standard")]
    assert len(set(keys)) == 3 and keys[0] == runs(*WORDS)[0].key()


@pytest.mark.parametrize(("words", "message"), [
    (["--train=0"], "follows weights while they train, so it excludes --train=0"),
    (["--pruner=snip"], "--pruner has no effect with --experiment=imp-conservation, which prunes nothing"),
    (["--target_sparsity=0.5"], "--target_sparsity has no effect with --experiment=imp-conservation"),
    (["--weight_init=xavier"], "xavier-normal"),
    (["--reinitialize"], "--reinitialize has no effect with --experiment=imp-conservation; see --weight_init"),
    (["--prune_batchnorm"], "--prune_batchnorm has no effect with --experiment=imp-conservation"),
])  # fmt: skip
def test_mistakes_are_one_clear_line(tmp_path, capsys, words, message):
    assert execute(tmp_path / "out", *WORDS, *words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "out").exists()
