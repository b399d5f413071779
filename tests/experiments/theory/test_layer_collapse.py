"""Layer collapse through the command line: counts of masks, critical compressions, resuming, mistakes, the figure."""

import math
from decimal import Decimal
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from commands import execute, runs
from conftest import ROOT

import visualization
from Experiments.theory.runs import levels
from Experiments.theory.runs.layer_collapse import all_quarters, critical_exponent
from Pruners.registry import style
from Utils.figures.theory.layer_collapse import layer_collapse as draw
from Utils.results import load_summaries
from Utils.results.summaries import read_summaries
from Utils.user_code import Stopped

SMALL = f"--architecture={ROOT / 'tests' / 'own' / 'small_network.py'}:small"
COLLAPSE = ["--experiment=layer-collapse", "--data=digits", SMALL, "--image_size=8"]
ROUNDS = ["--pruner=synflow", "--prune_iterations=3", "--exponents", "0", "1", "1.5", "2"]


def table(results: Path, pruner: str) -> pd.DataFrame:
    rows = read_summaries(results).rows
    (folder,) = rows.loc[(rows["pruner"] == pruner) & (rows["experiment"] == "layer-collapse"), "folder"]
    return pd.read_csv(Path(folder) / "levels.csv")


@pytest.mark.parametrize(("pruner", "flags"), [("snip", []), ("synflow", ["--prune_iterations=3"]), ("mag", [])])
def test_counts_are_those_of_single_shot_pruning(tmp_path, pruner, flags):
    assert execute(tmp_path, *COLLAPSE, f"--pruner={pruner}", *flags, "--exponents=1.5,0.50") == 0
    single = ["--data=digits", SMALL, "--image_size=8", "--train=0", f"--pruner={pruner}", *flags]
    assert execute(tmp_path, *single, "--com_exp", "0.5", "1.5") == 0
    name = {"mag": "magnitude"}.get(pruner, pruner)
    found = table(tmp_path, name).set_index(["exponent", "layer"])
    assert found.index.get_level_values(0).unique().tolist() == [0.5, 1.5]
    for _, row in read_summaries(tmp_path).rows.query("experiment == 'singleshot'").iterrows():
        layers = pd.read_csv(Path(row["folder"]) / "layers.csv").set_index("layer")
        counts = found.loc[round(math.log10(row["target_compression"]), 6)]
        columns = ["size", "kept_direct", "kept_effective"]
        pd.testing.assert_frame_equal(counts[columns], layers[columns])


def test_the_summary_names_where_the_first_layer_empties(tmp_path):
    assert execute(tmp_path, *COLLAPSE, "--pruner", "random", "mag", "--sample", "0", "1") == 0
    rows = load_summaries(tmp_path)
    assert len(rows) == 4 and (rows["prunable"] == 72 + 864 + 864 + 80).all()
    np.testing.assert_allclose(rows["maximal_exponent"], math.log10(1880 / 4))
    for folder, row in read_summaries(tmp_path).rows.set_index("folder").iterrows():
        counts = pd.read_csv(Path(str(folder)) / "levels.csv")
        assert counts["exponent"].unique().tolist() == [quarter / 4 for quarter in range(14)]
        kept = counts.groupby("exponent")["kept_direct"].sum()
        assert kept.tolist() == [math.ceil(round(1880 / 10**n, 9)) for n in kept.index]
        is_empty = counts["kept_direct"].eq(0).groupby(counts["exponent"]).any()
        assert row["critical_exponent"] == is_empty.index[~is_empty].max()
        assert row["effective_critical_exponent"] <= row["critical_exponent"]
        first = is_empty.index[is_empty].min()
        level = counts[counts["exponent"] == first].set_index("layer")["kept_direct"]
        assert level[row["first_empty_layer"]] == 0
        # At the exact compression K - 1 weights are kept, where K still leave one in each layer.
        boundary = 1880 / row["first_empty_at"]
        assert boundary == pytest.approx(round(boundary)) and kept[first] <= boundary
        assert boundary < kept[row["critical_exponent"]]


def test_the_exponents_end_with_a_single_weight_exactly():
    assert all_quarters(1000)[-1] == 3 and all_quarters(999)[-1] == Decimal("2.75") and all_quarters(1) == [0]
    assert all_quarters(14_761_664)[-1] == 7 and all_quarters(10**9)[-1] == 9


def test_the_critical_exponent_ends_at_the_first_empty_layer():
    counts = pd.DataFrame({"exponent": np.repeat([0.0, 1.0, 2.0, 3.0], 2), "kept": [9, 9, 5, 1, 4, 0, 1, 1]})
    assert critical_exponent(counts, "kept") == 1.0
    assert critical_exponent(counts[:4], "kept") == 1.0 and math.isnan(critical_exponent(counts[4:6], "kept"))


def interrupt_at(monkeypatch, count: int) -> list:
    """Interrupts the scoring of a level, the `count`-th from now; returns the targets scored so far."""
    scored: list = []
    order_of = levels.order_of

    def counted(trial, target):
        scored.append(target.com_exp)
        if len(scored) == count:
            raise Stopped
        return order_of(trial, target)

    monkeypatch.setattr(levels, "order_of", counted)
    return scored


def test_an_interrupted_run_scores_only_the_levels_that_are_left(tmp_path, monkeypatch):
    assert execute(tmp_path / "whole", *COLLAPSE, *ROUNDS) == 0
    with monkeypatch.context() as patch:
        scored = interrupt_at(patch, 3)
        assert execute(tmp_path / "cut", *COLLAPSE, *ROUNDS, "--checkpoint_every=1") == 130
        assert len(scored) == 3 and not list(tmp_path.rglob("cut/**/run.json"))
    with monkeypatch.context() as patch:
        scored = interrupt_at(patch, 99)
        assert execute(tmp_path / "cut", *COLLAPSE, *ROUNDS, "--checkpoint_every=1") == 0
        assert scored == [Decimal("1.5"), Decimal(2)]
    pd.testing.assert_frame_equal(table(tmp_path / "cut", "synflow"), table(tmp_path / "whole", "synflow"))
    assert not list(tmp_path.rglob("checkpoint-*"))


def test_a_criterion_of_one_round_scores_once(tmp_path, monkeypatch):
    scored = interrupt_at(monkeypatch, 99)
    assert execute(tmp_path, *COLLAPSE, "--pruner=snip") == 0
    assert len(scored) == 1 and table(tmp_path, "snip")["exponent"].nunique() == 14


def test_equal_requests_have_one_name():
    base = [*COLLAPSE, "--pruner=snip"]
    names = [["--exponents=1,2"], ["--exponents", "2", "1.0", "1"], ["--exponents=2.00,1"]]
    assert len({run.key() for words in names for run in runs(*base, *words)}) == 1
    assert len({run.key() for words in ([], ["--exponents=1"]) for run in runs(*base, *words)}) == 2
    (mag,), (magnitude,) = runs(*COLLAPSE, "--pruner=mag"), runs(*COLLAPSE, "--pruner=magnitude")
    assert mag.key() == magnitude.key()


MISTAKES = [
    ("--exponents=-1", "--exponents must be exponents n of compressions 10^n, at least 0, not"),
    ("--exponents=", "--exponents must be exponents n of compressions 10^n"),
    ("--exponents=two", "--exponents must be"),
    ("--exponents=4", "--exponents=4 leaves less than one of the 1880 weights of this network; it can be at most 3.27"),
    ("--pruner=dense", "dense"),
    ("--com_exp=2", "--com_exp has no effect with --experiment=layer-collapse, whose targets are its --exponents"),
    ("--target_sparsity=0.5", "--target_sparsity has no effect with --experiment=layer-collapse, whose targets"),
    ("--pruning_type=effective", "which counts direct and effective weights; leave it out"),
    ("--prune_unit=unit", "--prune_unit has no effect with --experiment=layer-collapse, which prunes single weights"),
    ("--iterations=5", "--iterations has no effect with --experiment=layer-collapse"),
    ("--checkpoint_every=1", "--checkpoint_every has no effect"),
    ("--levels=3", "--levels has no effect with --experiment=layer-collapse; it belongs to multishot"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_mistakes_are_one_line_and_write_nothing(tmp_path, capsys, words, message):
    assert execute(tmp_path / "out", *COLLAPSE, words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "Traceback" not in error
    assert not list(tmp_path.rglob("*.csv"))


def test_the_figure_shows_the_counts_and_the_first_empty_layer(tmp_path, capsys):
    assert execute(tmp_path, *COLLAPSE, "--pruner", "mag", "random", "--sample", "0", "1") == 0
    rows = read_summaries(tmp_path).rows
    figure = draw(rows, style, "a title")
    left = figure.axes[0]
    row = rows[rows["pruner"] == "magnitude"].sort_values("sample").iloc[0]
    counts = pd.read_csv(Path(row["folder"]) / "levels.csv")
    lines = {(line.get_gid(), line.get_linestyle()): line.get_xydata() for line in left.lines}
    layer = counts[counts["layer"] == "head.weight"]
    before = layer[layer["exponent"] <= row["critical_exponent"]]
    np.testing.assert_allclose(lines["head.weight", "-"][:, 0], 10 ** before["exponent"])
    np.testing.assert_allclose(lines["head.weight", "-"][:, 1], before["kept_direct"] / before["size"])
    assert lines["head.weight", "--"][0].tolist() == lines["head.weight", "-"][-1].tolist()
    assert lines["first empty", "None"][0, 0] == row["first_empty_at"]
    (note,) = left.texts
    assert note.get_text().partition(": ")[2] == row["first_empty_layer"].removesuffix(".weight")
    critical = [line.get_xdata()[0] for line in left.lines if line.get_gid() == "critical"]
    of_mag = rows[rows["pruner"] == "magnitude"]
    np.testing.assert_allclose(sorted(critical), sorted(10 ** of_mag["critical_exponent"]))
    assert lines["maximal", "-"][0, 0] == pytest.approx(470)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["Magnitude", "Random"]
    assert {"critical compression", "maximal compression", "first empty layer"} <= {
        text.get_text() for text in figure.legends[0].get_texts()
    }
    assert visualization.main([f"--out_path={tmp_path}"]) == 0
    (picture,) = [path for path in capsys.readouterr().out.split() if path.endswith("layer-collapse.png")]
    assert matplotlib.image.imread(picture).shape[1] > 1000


def test_the_figure_of_a_pruner_that_empties_no_layer(tmp_path):
    assert execute(tmp_path, *COLLAPSE, "--pruner=random/igq", "--exponents", "0", "1") == 0
    figure = draw(read_summaries(tmp_path).rows, style)
    assert not figure.axes[0].texts and "first empty layer" not in {
        text.get_text() for text in figure.legends[0].get_texts()
    }
