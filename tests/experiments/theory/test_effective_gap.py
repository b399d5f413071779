"""Effective gap through the command line: rows equal single-shot networks, targets of rounds, and the figure."""

from pathlib import Path

import numpy as np
import pandas as pd
from commands import execute, runs

import visualization
from Pruners.registry import style
from Utils.figures.theory.effective_gap import effective_gap as draw
from Utils.results.summaries import read_summaries

GAP = ["--experiment=effective-gap", "--data=digits"]


def gap_of(results: Path, pruner: str) -> tuple[pd.Series, pd.DataFrame]:
    rows = read_summaries(results).rows
    row = rows[(rows["experiment"] == "effective-gap") & (rows["pruner"] == pruner)].iloc[0]
    return row, pd.read_csv(Path(row["folder"]) / "gap.csv")


def test_rows_are_those_of_single_shot_networks(tmp_path):
    words = ["--pruner", "random", "synflow", "--prune_iterations=3", "--com_exp=2"]
    assert execute(tmp_path, *GAP, *words) == 0
    assert execute(tmp_path, "--data=digits", "--train=0", *words) == 0
    singles = read_summaries(tmp_path).rows.query("experiment == 'singleshot'").set_index("pruner")
    for pruner in ("random", "synflow"):
        row, table = gap_of(tmp_path, pruner)
        single = singles.loc[pruner]
        level = table[table["kept_direct"] == single["kept_direct"]].iloc[0]
        for column in ("kept_effective", "direct_compression", "effective_compression", "dead_units"):
            assert level[column] == single[column], column
        assert row["prunable"] == 266_200 and row["hidden_units"] == 400


def test_the_summary_is_that_of_the_table(tmp_path):
    assert execute(tmp_path, *GAP, "--pruner", "random/igq", "snip") == 0
    for pruner in ("random/igq", "snip"):
        row, table = gap_of(tmp_path, pruner)
        left = table[table["kept_effective"] > 0]
        assert row["disconnected_at"] == left["direct_compression"].max()
        edge = table[table["kept_direct"] == left["kept_direct"].min() - 1].iloc[0]
        assert edge["kept_effective"] == edge["structural_rank"] == 0 and edge["dead_share"] == 1
        assert np.isinf(edge["effective_compression"])
        ratio = left["effective_compression"] / left["direct_compression"]
        np.testing.assert_allclose(row["largest_gap"], ratio.max())
        np.testing.assert_allclose(row["largest_gap_at"], left["direct_compression"][ratio.idxmax()])
        ranks = left["structural_rank"]
        assert ranks.iloc[0] == 10 and ranks.iloc[-1] == 1 and set(ranks) <= set(range(1, 11))
        assert ranks.is_monotonic_decreasing and table["dead_units"].is_monotonic_increasing


def test_a_target_belongs_to_criteria_in_rounds(tmp_path, capsys):
    assert execute(tmp_path, *GAP, "--pruner=snip", "--com_exp=2") == 2
    message = "--com_exp has no effect on pruner snip, whose order suits all targets; leave it out"
    assert message in capsys.readouterr().err
    one, other = runs(*GAP, "--pruner=synflow", "--com_exp", "1", "2")
    assert one.key() != other.key()
    snip, _, _ = runs(*GAP, "--pruner", "snip", "synflow", "--com_exp", "1", "2")
    assert snip.key() == runs(*GAP, "--pruner=snip")[0].key() and snip.pruning.com_exp is None


def test_the_figure_shows_the_table_until_disconnection(tmp_path, capsys):
    words = ["--pruner", "random", "synflow", "--prune_iterations=2", "--com_exp=1"]
    assert execute(tmp_path, *GAP, "--pruner=mag") == 0 and execute(tmp_path, *GAP, *words) == 0
    figure = draw(read_summaries(tmp_path).rows, style, "a title")
    names = ("effective_compression", "dead_share", "structural_rank")
    row, table = gap_of(tmp_path, "magnitude")
    left = table[table["kept_effective"] > 0]
    for axes, name in zip(figure.axes, names, strict=True):
        (line,) = [line for line in axes.lines if line.get_gid() == "Magnitude"]
        np.testing.assert_allclose(line.get_xydata(), left[["direct_compression", name]])
    ends = [line.get_xydata()[0].tolist() for line in figure.axes[0].lines if line.get_gid() == "disconnected"]
    assert [row["disconnected_at"], left["effective_compression"].iloc[-1]] in ends and len(ends) == 3
    # SynFlow was pruned to 10x: what its last scores say beyond is dashed, and goes on where the line ends.
    (within,) = [line for line in figure.axes[0].lines if str(line.get_gid()).startswith("SynFlow")]
    beyond = [line for line in figure.axes[0].lines if line.get_gid() == "beyond"]
    assert within.get_xdata().max() <= 10 and within.get_xydata()[-1].tolist() in [
        line.get_xydata()[0].tolist() for line in beyond
    ]
    assert {"effective = direct", "disconnected beyond", "beyond the target"} <= {
        text.get_text() for text in figure.legends[0].get_texts()
    }
    assert visualization.main([f"--out_path={tmp_path}"]) == 0
    assert "effective-gap.png" in capsys.readouterr().out
