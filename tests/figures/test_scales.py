"""Axes of accuracy are close to the curves, or as asked; a lonely point is no figure."""

import numpy as np
import pandas as pd
import pytest
from commands import call, execute
from hypothesis import given
from hypothesis import strategies as st
from test_figures import row

import visualization
from Pruners.registry import style
from Utils.figures.accuracies import accuracies
from Utils.figures.compressions import compressions
from Utils.figures.look import LonelyPointError, new_figure
from Utils.figures.scales import accuracy_axes, log_axis


def rows_of(*accuracy: float, **other) -> pd.DataFrame:
    """Two pruners at as many targets as there are accuracies, the second a little worse."""
    rows = [row(pruner, 10.0 * 2**place, top1=top1 - 0.002 * (pruner == "synflow"), **other)
            for place, top1 in enumerate(accuracy) for pruner in ("snip", "synflow")]  # fmt: skip
    return pd.DataFrame(rows)


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def has_chance(figure) -> bool:
    return any(line.get_gid() == "chance" for line in figure.axes[0].lines)


def test_close_curves_fill_the_axis_and_chance_is_in_words():
    figure = accuracies(rows_of(0.99, 0.97, 0.94), style)
    low, high = figure.axes[0].get_ylim()
    assert low < 0.938 and high > 0.99 and (high - low) / 2 < 0.99 - 0.938
    assert not has_chance(figure) and "chance is 0.114, below" in legend(figure)


def test_chance_is_drawn_where_curves_come_close():
    figure = accuracies(rows_of(0.9, 0.5, 0.2), style)
    low, high = figure.axes[0].get_ylim()
    assert low < 0.1135 < high and has_chance(figure) and "chance" in legend(figure)
    assert (high - low) / 2 < 0.9 - 0.198


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.floats(0, 0.5) | st.just(float("nan")))
def test_curves_cover_half_of_the_axis(heights, chance):
    _, ((axes,),) = new_figure("")
    axes.plot(range(len(heights)), heights)
    handles = accuracy_axes([axes], chance)
    (low, high), span = axes.get_ylim(), max(heights) - min(heights)
    assert low < min(heights) and max(heights) <= high and high < 1.05
    assert span >= (high - low) / 2 or span < 0.02
    drawn = [line for line in axes.lines if line.get_gid() == "chance"]
    assert all(low < chance < high for _ in drawn) and len(handles) == (not np.isnan(chance))
    if handles and not drawn:
        assert not low < chance < high and f"{chance:.3g}" in handles[0].get_label()


def test_the_untrained_network_does_not_set_the_scale():
    _, ((axes,),) = new_figure("")
    axes.plot([0, 100, 200], [0.1, 0.95, 0.97])
    accuracy_axes([axes], after_start=True)
    assert 0.9 < axes.get_ylim()[0] < 0.95


@pytest.mark.parametrize(("low", "high"), [(9.5, 10.5), (2, 30), (1, 1e5), (1.1, 1.2), (3, 4e9)])
def test_logarithmic_axes_have_round_numbers(low, high):
    figure, ((axes,),) = new_figure("")
    ends = log_axis(axes, "x", low, high)
    axes.plot([low, high], [0, 1])
    figure.draw_without_rendering()
    assert ends == axes.get_xlim() and ends[0] <= low and ends[1] >= high
    labels = [text.get_text() for text in axes.get_xticklabels()]
    ticks = [x for x in axes.get_xticks() if ends[0] <= x <= ends[1]]
    assert 2 <= len(ticks) <= 12 and all(labels)


def test_ylim(tmp_path, capsys, monkeypatch):
    assert call(tmp_path, "--pruner", "snip", "random", "--target_sparsity", "0.5", "0.9") == 0
    capsys.readouterr()
    for words in (["0.9", "0.2"], ["0.5"], ["0.5", "0.5"], ["0.1", "0.2", "0.3"], ["nan", "1"]):
        assert visualization.main([f"--out_path={tmp_path}", "--ylim", *words]) == 2
        error = capsys.readouterr().err
        assert "--ylim must be" in error and error.count("\n") == 1 and not (tmp_path / "figures").exists()
    drawn = {}
    monkeypatch.setattr(visualization, "save_figure", lambda figure, path: drawn.update({path.name: figure}) or [path])
    assert visualization.main([f"--out_path={tmp_path}", "--ylim", "0.25", "0.75"]) == 0
    stem = "singleshot_lenet300100_digits_direct_"
    scaled = {name.removeprefix(stem) for name, figure in drawn.items() if figure.axes[0].get_ylim() == (0.25, 0.75)}
    assert scaled == {"accuracies", "collapse", "training"} and f"{stem}masks" in drawn
    assert all(axes.get_ylim() == (0.25, 0.75) for axes in drawn[f"{stem}training"].axes[:2])
    capsys.readouterr()
    assert visualization.main([f"--out_path={tmp_path}", "--ylim=0.25,0.75", "--plot_type=masks"]) == 2
    assert "there is no figure masks: it has no axis of accuracy for --ylim" in capsys.readouterr().err


@pytest.mark.parametrize("make", [accuracies, compressions])
def test_one_point_is_no_figure(make):
    rows = pd.DataFrame([row("dense", 1)] + [row("snip", 10, sample) for sample in (0, 1)])
    with pytest.raises(LonelyPointError, match=r"single point, at 10x; run main.py with further values of --target_sp"):
        make(rows, style)
    make(pd.concat([rows, pd.DataFrame([row("snip", 100)])]), style)
    make(pd.concat([rows, pd.DataFrame([row("synflow", 10, effective=20, top1=0.5)])]), style)
    with pytest.raises(LonelyPointError):
        make(pd.concat([rows, pd.DataFrame([row("synflow", 10)])]), style)


def test_other_figures_are_drawn_without_the_lonely_point(tmp_path, capsys):
    assert call(tmp_path, "--pruner", "snip", "dense") == 0
    assert execute(tmp_path, "--data=digits", "--experiment=train-then-prune", "--iterations=10", "--k_vals=0.5") == 0
    capsys.readouterr()
    assert visualization.main([f"--out_path={tmp_path}"]) == 0
    printed = capsys.readouterr()
    for kind in ("direct_accuracies", "direct_compressions", "weights-and-units"):
        assert f"{kind}.png" not in printed.out
        assert sum(f"{kind}: it would show a single" in line for line in printed.err.splitlines()) == 1
    for kind in ("layers", "training", "masks"):
        assert f"direct_{kind}.png" in printed.out
    assert visualization.main([f"--out_path={tmp_path}", "--plot_type=accuracies", "--experiment=singleshot"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "accuracies: it would show a single point, at 10x" in error
