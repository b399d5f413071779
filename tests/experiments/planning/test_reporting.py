"""What a finished run prints: the table of its experiment, or the size of its network, in the unit of its target."""

import pandas as pd
import pytest
from commands import QUICK, call, execute
from conftest import rows_of, run_folder


def test_pruning_after_training_prints_the_accuracy_of_each_fraction(tmp_path, capsys):
    words = ["--experiment=train-then-prune", "--k_vals", "0", "0.5", "0.9"]
    assert call(tmp_path, *words) == 0
    printed = capsys.readouterr().out
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    table = pd.read_csv(run_folder(tmp_path, row) / "results.csv")
    lines = [line.split() for line in printed.splitlines() if line.startswith("  ")]
    shown = [list(map(float, cells)) for cells in lines if all(cell.replace(".", "").isdigit() for cell in cells)]
    assert shown == table.to_numpy().tolist() and len(shown) == 3
    assert "Test Accuracy (Unit)" in printed and "bytes" not in printed and "target" not in printed
    # The same without files.
    assert call(tmp_path / "none", *words, "--save=0") == 0
    assert "Test Accuracy (Unit)" in capsys.readouterr().out


def test_many_runs_of_it_print_a_line_each(tmp_path, capsys):
    words = ["--experiment=train-then-prune", "--k_vals=0.5", "--sample", *map(str, range(11))]
    assert execute(tmp_path, "--data=digits", "--iterations=1", *words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "top-1" in line]
    assert len(lines) == 11 and not any("kept" in line for line in lines)


@pytest.mark.parametrize(("words", "target"), [
    (["--prune_unit=unit", "--target_sparsity=0.5"], "; target 200 units, direct"),
    (["--prune_unit=unit", "--target_sparsity=0.5", "--pruning_type=effective"], "; target 133100 weights, effective"),
    (["--target_sparsity=0.5"], "; target 133100 weights, direct"),
])  # fmt: skip
def test_a_target_has_its_unit(tmp_path, capsys, words, target):
    assert execute(tmp_path, *QUICK, "--pruner=random", *words) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "; target" in line)
    assert target in line
