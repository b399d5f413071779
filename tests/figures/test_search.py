"""Figures of searches for masks: curves where the tables say, from tables written by hand."""

from pathlib import Path

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from commands import call, execute
from hypothesis import given, settings
from hypothesis import strategies as st
from test_figures import row

import visualization
from Utils.figures.look import LonelyPointError, NothingToDrawError, save_figure
from Utils.figures.search import search
from Utils.figures.selection import Plot, select

ORANGE = "#d55e00"
CHECKS = {
    "shuffle": "mask shuffled", "reinitialize": "weights reinitialized", "invert": "mask inverted",
    "random": "random mask",
}  # fmt: skip
COLUMNS = [
    "phase", "epoch", "soft_top1", "top1", "density_before", "effective_density_before", "density",
    "effective_density", "free_density", "flips",
]  # fmt: skip


def style(name: str) -> tuple[str, str, str]:
    return name.capitalize(), ORANGE if name == "gem-miner" else "#0072b2", "o"


def table(searching: int = 3, tuning: int = 2, shift: float = 0.0, checks=(), **columns) -> pd.DataFrame:
    """The rows of a run; `shift` moves its accuracies, and `columns` replace columns of the search."""
    rows = [
        dict.fromkeys(COLUMNS, np.nan) | {"phase": "search", "epoch": epoch, "top1": 0.5 + epoch / 100 + shift,
                                          "density": 0.9 / epoch, "effective_density": 0.8 / epoch,
                                          "free_density": 1 / epoch, "flips": 1000 // epoch}
        for epoch in range(1, searching + 1)
    ]  # fmt: skip
    for one in rows:
        one |= {"soft_top1": one["top1"], "density_before": one["density"],
                "effective_density_before": one["effective_density"]} | columns  # fmt: skip
    later = {"density": 0.1, "effective_density": 0.05, "flips": 0}
    rows.append({"phase": "rounded", "epoch": searching, "top1": 0.3 + shift} | later | {"flips": 7})
    rows += [
        {"phase": phase, "epoch": searching + epoch, "top1": 0.7 - 0.1 * place + epoch / 100 + shift} | later
        for place, phase in enumerate(("fine-tune", *checks))
        for epoch in range(1, tuning + 1)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def runs(folder: Path, *tables: pd.DataFrame, target: float = 10.0, **columns) -> pd.DataFrame:
    """Rows of `summary.csv` of one network, a sample for each table."""
    rows = []
    for sample, content in enumerate(tables):
        place = folder / f"{target}_{sample}_{'_'.join(columns.values())}"
        place.mkdir(parents=True)
        (place / "run.json").write_text('{"status": "complete"}')
        content.to_csv(place / "search.csv", index=False)
        rows.append({"pruner": "gem-miner", "settings": "", "target_compression": target, "sample": sample,
                     "folder": str(place)} | columns)  # fmt: skip
    return pd.DataFrame(rows)


def lines(figure, panel: int = 0, column: int = 0) -> dict:
    """The curves of a panel by their gid; 0 is accuracy, 1 density, 2 flips."""
    axes = np.reshape(figure.axes, (3, -1))[panel, column]
    curves = {line.get_gid(): line for line in axes.lines}
    assert len(curves) == len(axes.lines), "each is drawn once"
    return curves


def points(line) -> list[tuple]:
    return [(x, pytest.approx(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def has_band(axes) -> bool:
    return bool(axes.collections)


def test_fine_tuning_continues_the_epochs_of_the_search(tmp_path):
    figure = search(runs(tmp_path, table(), table(shift=0.1)), style)
    accuracy, density, flips = (lines(figure, panel) for panel in range(3))
    assert points(accuracy["Gem-miner|top1"]) == [(1, 0.56), (2, 0.57), (3, 0.58), (3, 0.35), (4, 0.76), (5, 0.77)]
    assert points(density["Gem-miner|density"]) == [(1, 0.9), (2, 0.45), (3, 0.3), (3, 0.1), (4, 0.1), (5, 0.1)]
    effective = density["Gem-miner|effective_density"]
    assert points(effective) == [(1, 0.8), (2, 0.4), (3, 0.8 / 3), (3, 0.05), (4, 0.05), (5, 0.05)]
    assert points(density["Gem-miner|free_density"]) == [(1, 1), (2, 0.5), (3, 1 / 3)]
    assert points(flips["Gem-miner|flips"]) == [(1, 1000), (2, 500), (3, 333), (3, 7), (4, 0), (5, 0)]
    assert [density[f"Gem-miner|{name}"].get_linestyle() for name in ("density", "effective_density", "free_density")] \
        == ["-", "--", ":"]  # fmt: skip
    for panel in range(3):
        assert lines(figure, panel)["rounded"].get_xdata() == [3, 3], "where the mask was rounded"
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "log", "symlog"]
    band = np.concatenate([path.vertices for path in figure.axes[0].collections[0].get_paths()])
    assert band[:, 1].min() == pytest.approx(0.3) and band[:, 1].max() == pytest.approx(0.82)
    assert not figure.axes[0].lines[0].get_label().startswith("_") and "before rounding" not in legend(figure)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 6), st.integers(0, 6), st.lists(st.floats(0, 0.2), min_size=1, max_size=3))
def test_curves_are_means_over_samples(tmp_path_factory, searching, tuning, shifts):
    tables = [table(searching, tuning, shift) for shift in shifts]
    rows = runs(tmp_path_factory.mktemp("runs"), *tables)
    places = [*range(1, searching + 1), searching, *range(searching + 1, searching + tuning + 1)]
    if len(set(places)) == 1:
        with pytest.raises(LonelyPointError, match=r"a single epoch; run main.py with more --epochs"):
            search(rows, style)
        return
    figure = search(rows, style)
    expected = [(x, y) for x, y in zip(places, tables[0]["top1"] + np.mean(shifts) - shifts[0], strict=True) if x]
    assert points(lines(figure)["Gem-miner|top1"]) == expected, "without the accuracy of untrained networks"
    assert points(lines(figure, 1)["Gem-miner|density"]) == list(zip(places, tables[0]["density"], strict=True))
    assert ("rounded" in lines(figure)) == ("rounding" in legend(figure)) == (searching > 0)
    assert has_band(figure.axes[0]) == (len(shifts) > 1)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        heights = [line.get_ydata() for line in axes.lines if line.get_gid() not in ("rounded", "chance")]
        assert all(low < y < high for y in np.concatenate(heights))


def test_values_before_rounding_are_faint_where_they_differ(tmp_path):
    rows = runs(tmp_path, table(soft_top1=0.4, effective_density_before=0.9))
    figure = search(rows, style)
    accuracy, density = lines(figure), lines(figure, 1)
    assert points(accuracy["Gem-miner|soft_top1"])[:3] == [(1, 0.4), (2, 0.4), (3, 0.4)]
    assert density["Gem-miner|effective_density_before"].get_linestyle() == "--"
    assert accuracy["Gem-miner|soft_top1"].get_alpha() < 1 and "Gem-miner|density_before" not in density
    assert legend(figure).count("before rounding") == 1


def test_sanity_checks_are_faint_lines_of_the_same_colour(tmp_path):
    rows = runs(tmp_path, table(checks=CHECKS), table(checks=CHECKS, shift=0.02))
    curves = lines(search(rows, style))
    looks = set()
    for place, phase in enumerate(CHECKS, 1):
        line = curves[f"Gem-miner|{phase}"]
        assert points(line) == [(4, 0.72 - 0.1 * place), (5, 0.73 - 0.1 * place)]
        assert matplotlib.colors.to_hex(line.get_color()) == ORANGE and line.get_alpha() < 1
        looks.add(line._unscaled_dash_pattern)
    looks.add(curves["Gem-miner|top1"]._unscaled_dash_pattern)
    assert len(looks) == 5, "line styles tell them apart"
    texts = legend(search(rows, style))
    assert [text for text in texts if text in CHECKS.values()] == list(CHECKS.values())
    one = search(runs(tmp_path / "one", table(checks=["invert"])), style)
    assert [text for text in legend(one) if text in CHECKS.values()] == ["mask inverted"]


def test_at_most_four_targets_have_a_column(tmp_path):
    rows = pd.concat([runs(tmp_path, table(shift=target / 1000), target=target) for target in (2, 5, 10, 20, 50)])
    figure = search(rows, style, "a title")
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [f"target density {density}" for density in (0.5, 0.2, 0.05, 0.02)]
    for column, target in enumerate((2, 5, 20, 50)):
        assert points(lines(figure, 0, column)["Gem-miner|top1"])[0] == (1, 0.51 + target / 1000)
    assert figure.get_suptitle() == "a title"
    one = search(runs(tmp_path / "one", table(), target=1), style)
    assert one.axes[0].get_title() == "no target"


def test_tables_without_a_search_or_with_empty_columns(tmp_path):
    part = table(0).assign(free_density=np.nan, flips=np.nan)
    rows = runs(tmp_path, part, pruner="smart-ratio")
    figure = search(rows, style)
    assert points(lines(figure)["Smart-ratio|top1"]) == [(1, 0.71), (2, 0.72)]
    assert points(lines(figure, 1)["Smart-ratio|density"]) == [(0, 0.1), (1, 0.1), (2, 0.1)]
    assert lines(figure, 1).keys() == {"Smart-ratio|density", "Smart-ratio|effective_density"}
    assert not lines(figure, 2), "no flips, no line, and none where nothing was rounded"
    assert legend(figure) == ["Smart-ratio", "direct density", "effective density"]
    both = pd.concat([rows, runs(tmp_path, table(4))])
    assert lines(search(both, style), 1)["rounded"].get_xdata() == [4, 4]


def test_runs_of_different_lengths(tmp_path):
    rows = pd.concat([runs(tmp_path, table(2, 1)), runs(tmp_path, table(5, 0), settings="--unflag=1")])
    figure = search(rows, style)
    ends = sorted(line.get_xdata()[0] for line in figure.axes[0].lines if line.get_gid() == "rounded")
    assert ends == [2, 5] and legend(figure)[:2] == ["Gem-miner", "Gem-miner, unflagged"]
    curves = {line.get_gid(): line for line in figure.axes[0].lines}
    assert curves["Gem-miner|top1"].get_xdata().tolist() == [1, 2, 2, 3]
    assert curves["Gem-miner, unflagged|top1"].get_xdata().tolist() == [1, 2, 3, 4, 5, 5]


def test_a_sample_whose_search_ended_early_is_rounded_with_the_others(tmp_path):
    figure = search(runs(tmp_path, table(3, 2), table(2, 2, shift=0.1)), style)
    assert points(lines(figure)["Gem-miner|top1"]) == [(1, 0.56), (2, 0.57), (3, 0.53), (3, 0.35), (4, 0.76), (5, 0.77)]
    assert lines(figure)["rounded"].get_xdata() == [3, 3]


def test_collapsed_masks_leave_the_axis_of_density(tmp_path):
    dead = table().assign(effective_density=0.0)
    figure = search(runs(tmp_path, dead), style)
    assert figure.axes[1].get_ylim()[0] == pytest.approx(0.1 / 1.3), "0 does not set the scale"
    nothing = dead.assign(density=0.0, free_density=np.nan)
    assert save_figure(search(runs(tmp_path / "all", nothing), style), tmp_path / "figure")


def test_legends_tell_algorithms_and_settings_apart_without_repetition(tmp_path):
    several = pd.concat([
        runs(tmp_path, table(checks=CHECKS), table(), target=target, pruner=name, settings=text)
        for name, text in (("gem-miner", "--algorithm=gem-miner"), ("gem-miner", "--algorithm=gem-miner --unflag=1"),
                           ("edge-popup", "--algorithm=edge-popup"), ("hypercube", "--algorithm=hypercube"))
        for target in (10.0, 50.0)
    ])  # fmt: skip
    figure = search(several.assign(chance=0.1135), style)
    figure.draw_without_rendering()
    texts = legend(figure)
    assert texts[:4] == ["Edge-popup", "Gem-miner", "Gem-miner, unflagged", "Hypercube"]
    assert len(set(texts)) == len(texts) and not any("=" in text for text in texts)
    assert any(text.startswith("chance") for text in texts)
    boxes = [axes.get_window_extent() for axes in figure.axes]
    width = max(box.x1 for box in boxes) - min(box.x0 for box in boxes)
    box = figure.legends[0].get_window_extent()
    assert box.width <= width and box.y1 <= min(box.y0 for box in boxes)
    for axes in figure.axes[:2]:
        drawn = [line for line in axes.lines if line.get_gid() != "rounded"]
        looks = {(line.get_color(), line.get_marker(), line.get_fillstyle(), line._unscaled_dash_pattern)
                 for line in drawn if matplotlib.colors.to_hex(line.get_color()) == ORANGE}  # fmt: skip
        assert len(looks) == 10, "two settings, each with four sanity checks"
    assert legend(search(several[several["settings"].str.contains("unflag")], style))[0] == "Gem-miner"


def test_the_plotting_command(tmp_path, capsys, monkeypatch):
    words = ["--experiment=supermask", "--data=digits", "--epochs=2", "--freeze_every=1", "--target_density=0.2"]
    gem = [*words, "--algorithm=gem-miner"]
    for more in (
        [*words, "--algorithm", "gem-miner", "edge-popup", "smart-ratio"],
        [*gem, "--sanity_checks", "shuffle", "random"],
        [*gem, "--unflag"],
        [*gem, "--score_penalty=l1"],
    ):
        assert execute(tmp_path, *more) == 0
    drawn = []
    monkeypatch.setattr(visualization, "save_figure", lambda figure, path: drawn.append(figure) or [path])
    capsys.readouterr()
    assert visualization.main([f"--out_path={tmp_path}", "--plot_type=search", "--ylim", "0.25", "0.75"]) == 0
    ((figure,), printed) = drawn, capsys.readouterr()
    assert printed.out.endswith("supermask_lenet300100_digits_direct_search\n") and not printed.err
    texts = legend(figure)
    assert texts[1:4] == ["Gem-Miner, freeze_every=1", "Gem-Miner, freeze_every=1, score_penalty=l1",
                          "Gem-Miner, unflagged, freeze_every=1"]  # fmt: skip
    assert {texts[0], texts[4]} == {"Edge-popup", "Smart-Ratio"} and "mask shuffled" in texts and "random mask" in texts
    curves = {line.get_gid(): line for axes in figure.axes for line in axes.lines}
    table = pd.read_csv(next((tmp_path / "supermask").rglob("edge-popup/**/search.csv")))
    for name in ("top1", "density", "effective_density", "flips"):
        assert points(curves[f"Edge-popup|{name}"]) == list(zip(table["epoch"], table[name], strict=True))


def test_networks_without_a_search_are_named(tmp_path, capsys):
    assert call(tmp_path, "--pruner=snip") == 0
    assert visualization.main([f"--out_path={tmp_path}", "--plot_type=search"]) == 2
    assert "no figure search: these networks have no mask that was searched for" in capsys.readouterr().err


def test_a_network_with_and_without_sanity_checks_is_one_sample():
    checked = "--algorithm=gem-miner --sanity_checks=shuffle,invert"
    texts = [checked, "--algorithm=gem-miner", f"{checked} --unflag=1", "--algorithm=gem-miner"]
    rows = [row("gem-miner", 10, sample, settings=text) for text, sample in zip(texts, (0, 0, 0, 1), strict=True)]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        ((_, part),) = select(pd.DataFrame([rows[place] for place in order], index=[7] * 4), Plot())
        assert set(zip(part["settings"], part["sample"], strict=True)) == {
            (checked, 0), (f"{checked} --unflag=1", 0), ("--algorithm=gem-miner", 1)
        }  # fmt: skip
    ((_, part),) = select(pd.DataFrame(rows), Plot(num_samples=1))
    assert len(part) == 2 and set(part["sample"]) == {0}


def test_the_last_test_of_an_epoch_counts(tmp_path):
    often = pd.concat([table().assign(top1=0.1, density=0.7), table()]).sort_values("epoch", kind="stable")
    figure = search(runs(tmp_path, often), style)
    assert points(lines(figure)["Gem-miner|top1"])[:3] == [(1, 0.51), (2, 0.52), (3, 0.53)]
    assert not has_band(figure.axes[0])


def test_nothing_to_draw(tmp_path):
    rows = runs(tmp_path, table())
    for folder in rows["folder"]:
        (Path(folder) / "search.csv").unlink()
    with pytest.raises(NothingToDrawError, match="no mask that was searched for"):
        search(rows, style)
