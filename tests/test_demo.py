"""The tour: its tables are true, its figures are there, and a second one trains nothing again."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch

import demo
from Experiments.common.network import initial_model, load_data
from Experiments.planning.resolve import resolve
from Experiments.runs import singleshot
from Pruners import make_pruner
from Pruners.allocation import allocate
from Pruners.registry import style
from Utils import randomness
from Utils.config.settings import Settings
from Utils.config.target import Target
from Utils.connectivity import effective_masks
from Utils.figures.demo import accuracy_follows, reached
from Utils.results import load_summaries


@pytest.fixture
def short(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "EXPONENTS", [Decimal(1), Decimal(2), Decimal("2.2"), Decimal(5)])
    monkeypatch.setattr(demo, "TRAINED", ("1.5", "4"))
    monkeypatch.setattr(demo, "TRAINING", ("--iterations=20", "--lr_drops=10", "--evaluate_every=20"))


def test_the_tour(short, capsys, monkeypatch):
    assert demo.main([]) == 0
    printed = capsys.readouterr().out
    for name in ("demo_compressions.png", "demo_accuracies.png"):
        assert (demo.FOLDER / "figures" / name).stat().st_size > 10_000 and name in printed
    assert "python main.py --pruner=snip --target_sparsity=0.99 --pruning_type=effective" in printed
    assert all(name in printed for name in demo.PRUNERS) and "collapsed" in printed
    rows = load_summaries(demo.FOLDER)
    assert len(rows) == 8 and set(rows["pruner"]) == set(demo.PRUNERS)

    def again(*arguments, **options) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(singleshot, "run", again)
    assert demo.main([]) == 0, "the second time all networks are there"


@pytest.mark.parametrize("name", ["random/igq", "snip", pytest.param("synflow", marks=pytest.mark.slow)])
def test_compressions_are_those_of_pruned_networks(short, name, monkeypatch):
    monkeypatch.setattr(demo, "PRUNERS", (name,))
    rows = pd.DataFrame(demo.compressions())
    settings = resolve(Settings().with_values(data="digits")).settings
    data = load_data(settings.data_spec, torch.device("cpu"))
    model = initial_model(settings.network_spec, data)
    batches = data.prune_examples(0, settings.pruning.prune_examples or 1, settings.training.batch_size or 1)
    for row in rows.itertuples():
        target = Target(com_exp=Decimal(str(round(np.log10(row.target_compression), 6))))
        scores = make_pruner(name).score(model, batches, target, randomness.generator(0, "random scores"))
        masks = allocate(model, scores, target, data.input_shape, row.pruning_type)
        kept = sum(int(mask.sum()) for mask in effective_masks(model, data.input_shape, masks).values())
        assert (row.target_kept, row.kept_direct, row.kept_effective) == (target.kept(266_200), masks.kept, kept)


def test_figures_of_the_demo_show_their_rows(short):
    rows = pd.DataFrame(demo.compressions())
    left, right = reached(rows, style).axes
    for axes, kind, other in ((left, "direct", "effective"), (right, "effective", "direct")):
        part = rows[(rows["pruner"] == "snip") & (rows["pruning_type"] == kind)]
        (line,) = (line for line in axes.lines if line.get_gid() == f"SNIP|{kind}")
        np.testing.assert_allclose(line.get_xdata(), part["target_compression"])
        np.testing.assert_allclose(line.get_ydata(), part[f"{other}_compression"].replace(np.inf, np.nan))
    collapsed = rows["effective_compression"].eq(np.inf)
    marks = [line for line in left.lines if line.get_gid() == "collapsed"]
    assert sum(len(line.get_xdata()) for line in marks) == collapsed.sum() > 0


def test_accuracies_of_the_demo_stand_at_both_compressions():
    rows = pd.DataFrame({
        "pruner": ["snip", "snip", "synflow"], "target_compression": [10.0, 100, 10], "top1": [0.9, 0.1, 0.8],
        "direct_compression": [10.0, 100, 10], "effective_compression": [12.0, np.inf, 10],
        "collapsed": [False, True, False], "chance": 0.1,
    })  # fmt: skip
    left, right = accuracy_follows(rows, style).axes
    (direct,) = (line for line in left.lines if line.get_gid() == "SNIP|direct")
    (effective,) = (line for line in right.lines if line.get_gid() == "SNIP|effective")
    assert direct.get_xydata().tolist() == [[10, 0.9], [100, 0.1]]
    assert effective.get_xydata().tolist() == [[12, 0.9], [300, 0.1]], "a collapsed one stands at the right edge"
    assert "rank correlation" in demo.accuracy_table(rows) and "collapsed" in demo.accuracy_table(rows)


def test_help(capsys):
    assert demo.main(["--help"]) == 0
    assert "python demo.py" in capsys.readouterr().out
