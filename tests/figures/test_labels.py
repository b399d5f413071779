"""Figures tell runs apart: labels name what differs and nothing else, and no two series look the same."""

import math
import re
from pathlib import Path
from typing import Any

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from commands import call
from hypothesis import given
from hypothesis import strategies as st

import visualization
from Pruners.registry import style
from Utils.figures.labels import spelled_out, variant_of
from Utils.figures.look import add_legend, grey_line, new_figure
from Utils.figures.series import make_series

Drawn = dict[str, Any]

PRUNING = ("accuracies", "compressions", "layers", "dead-units")
"""Kinds with a curve for each pruner and choice of settings."""


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Small campaigns of the comparisons that papers draw."""
    folder = tmp_path_factory.mktemp("results")
    campaigns = [
        [
            "--experiment=dynamic",
            "--pruner",
            "dense",
            "random/erk",
            "random/uniform",
            "--exchange_every=5",
            f"--grow={x}",
        ]
        for x in ("gradient", "random")
    ] + [
        ["--experiment=gradual", "--pruner", "magnitude", "--prune_every=5", f"--ramp={x}"] for x in ("cubic", "linear")
    ]
    for words in campaigns:
        assert call(folder, *words, "--target_sparsity", "0.9", "0.98") == 0
    for words in ([], ["--shuffle"], ["--reinitialize"], ["--invert"]):
        assert call(folder, "--pruner=snip", "--target_sparsity", "0.9", "0.98", *words) == 0
    arms = ["--experiment=union-mask", "--arm", "union", "vanilla", "vanilla-cyclic", "--cycles=3", "--prune_every=3"]
    assert call(folder, *arms, "--pruner", "magnitude", "snip", "--target_sparsity", "0.9", "0.98") == 0
    for words in ([], ["--l1_reg=0.001"]):
        assert call(folder, "--experiment=train-then-prune", "--k_vals", "0", "0.25", "0.5", *words) == 0
    return folder


@pytest.fixture(scope="module")
def figures(results) -> Drawn:
    """Every figure of the campaigns, by its name; an animation is its first frame."""
    drawn: Drawn = {}

    def keep(figure, path: Path) -> list[Path]:
        drawn[path.name] = figure[0][1] if isinstance(figure, list) else figure
        return [path]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visualization, "save_figure", keep)
        patch.setattr(visualization, "save_frames", keep)
        assert visualization.main([f"--out_path={results}"]) == 0
    for figure in drawn.values():
        figure.draw_without_rendering()
    return drawn


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def labelled(axes) -> list:
    """The curves that the legend names."""
    return [line for line in axes.lines if not line.get_label().startswith("_")]


def look(line) -> tuple:
    colour = matplotlib.colors.to_hex(line.get_color())
    return colour, line.get_marker(), line.get_fillstyle(), line._unscaled_dash_pattern


@pytest.mark.parametrize(("name", "labels"), [
    ("dynamic", ["ERK (random), RigL", "ERK (random), SET", "Uniform (random), RigL", "Uniform (random), SET"]),
    ("gradual", ["ramp=cubic", "ramp=linear"]),
    ("singleshot", ["SNIP", "SNIP, inverted", "SNIP, reinitialized", "SNIP, shuffled"]),
    ("union-mask", ["Magnitude, union mask", "Magnitude, vanilla", "Magnitude, vanilla-cyclic",
                    "SNIP, union mask", "SNIP, vanilla", "SNIP, vanilla-cyclic"]),
])  # fmt: skip
def test_legends_name_what_differs(figures, name, labels):
    for kind in (*PRUNING, "training", *(["sparsity"] if name != "singleshot" else [])):
        texts = legend(figures[f"{name}_lenet300100_digits_direct_{kind}"])
        texts = texts[1:] if texts[0] == "Dense" else texts
        assert texts[: len(labels)] == labels
        rest = " ".join(texts[len(labels) :])
        assert "=" not in rest.replace("effective = target", "") and "Magnitude" not in rest


def test_settings_are_named_without_a_pruner(figures):
    stem = "train-then-prune_lenet300100_digits_"
    assert legend(figures[f"{stem}weights-and-units"]) == [
        "single weights", "whole units", "single weights, l1_reg=0.001", "whole units, l1_reg=0.001"
    ]  # fmt: skip
    assert legend(figures[f"{stem}trained"]) == [
        "training", "validation", "training, l1_reg=0.001", "validation, l1_reg=0.001"
    ]  # fmt: skip


def test_legends_are_no_wider_than_the_axes(figures):
    for name, figure in figures.items():
        boxes = [axes.get_window_extent() for axes in figure.axes]
        width = max(box.x1 for box in boxes) - min(box.x0 for box in boxes)
        for one in figure.legends:
            assert one.get_window_extent().width <= width, name
            assert one.get_window_extent().y1 <= min(box.y0 for box in boxes), "below the axes"
    assert sum(bool(figure.legends) for figure in figures.values()) > 20


@pytest.mark.parametrize("words", [6, 60])
def test_labels_that_are_wider_than_the_axes_are_wrapped(words):
    figure, ((axes,),) = new_figure("")
    height = figure.get_figheight()
    add_legend(figure, [grey_line(f"{place} " + "setting=0.125 " * words) for place in range(3)])
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().width <= axes.get_window_extent().width
    assert all("\n" in text for text in legend(figure)) and len(legend(figure)) == 3
    assert figure.get_figheight() > height and axes.get_window_extent().height > figure.dpi


def test_series_of_one_figure_look_different(figures):
    for name, figure in figures.items():
        for axes in figure.axes:
            looks = [look(line) for line in labelled(axes)]
            labels = [line.get_label() for line in labelled(axes)]
            assert len(set(labels)) == len(labels), name
            if not name.startswith("train-then-prune"):
                assert len(set(looks)) == len(looks), name


def test_colours_are_of_pruners_and_line_styles_of_settings(figures):
    for kind in ("training", "sparsity", "compressions"):
        lines = {
            line.get_label(): look(line)
            for line in labelled(figures[f"dynamic_lenet300100_digits_direct_{kind}"].axes[0])
        }
        for pruner, colour in (("ERK", style("random/erk")[1]), ("Uniform", style("random/uniform")[1])):
            rigl, set_ = lines[f"{pruner} (random), RigL"], lines[f"{pruner} (random), SET"]
            assert rigl[:2] == set_[:2] == (colour, style("random/erk")[2])
            assert rigl[2] != set_[2] and rigl[3] != set_[3]
        for grow in ("RigL", "SET"):
            assert lines[f"ERK (random), {grow}"][2:] == lines[f"Uniform (random), {grow}"][2:]
    for kind in PRUNING:
        lines = {
            line.get_label(): look(line)
            for line in labelled(figures[f"singleshot_lenet300100_digits_direct_{kind}"].axes[0])
        }
        snip = [value for label, value in lines.items() if label.startswith("SNIP")]
        assert len(snip) == 4 and {value[0] for value in snip} == {style("snip")[1]}, "the same colour in all figures"


def test_titles_name_the_experiment_and_a_common_pruner(figures):
    for name, figure in figures.items():
        title = figure.get_suptitle() or figure.axes[0].get_title()
        experiment = name.partition("_")[0].replace("-", " ").capitalize()
        assert title.startswith(f"{experiment}: LeNet-300-100 on ") and "digits" in title, name
    for name, pruner in (("gradual", "Magnitude"), ("singleshot", "SNIP")):
        title = figures[f"{name}_lenet300100_digits_direct_accuracies"].axes[0].get_title()
        assert f"digits, {pruner}, direct targets" in title.replace("\n", " ")
    assert "ERK" not in figures["dynamic_lenet300100_digits_direct_accuracies"].axes[0].get_title()


def test_panels_of_overlaps_differ_in_title(figures):
    panels = [axes for axes in figures["union-mask_lenet300100_digits_direct_overlaps"].axes if axes.images]
    titles = [axes.get_title() for axes in panels]
    assert titles == [f"{pruner}\ntarget {level}x" for pruner in ("Magnitude", "SNIP") for level in (10, 50)]


def test_one_pruner_on_request_is_named_in_the_title_alone(results, monkeypatch):
    drawn = []
    monkeypatch.setattr(visualization, "save_figure", lambda figure, path: drawn.append(figure) or [])
    words = ["--experiment=dynamic", "--pruners_to_display=random/erk", "--plot_type=training"]
    assert visualization.main([f"--out_path={results}", *words]) == 0
    assert legend(drawn[0])[:3] == ["Dense", "RigL", "SET"] and "ERK (random)" in drawn[0].get_suptitle()


def test_percentages_of_train_then_prune(figures, results):
    table = pd.read_csv(next((results / "train-then-prune").rglob("results.csv")))
    assert table["Sparsity (%)"].tolist() == [0, 25, 50] and table["Test Accuracy (Unit)"].between(0, 1).all()
    axes = figures["train-then-prune_lenet300100_digits_weights-and-units"].axes[0]
    assert all(line.get_xdata().tolist() == [0, 25, 50] for line in labelled(axes)) and "(%)" in axes.get_xlabel()


def test_frames_are_named_and_cut_by_the_fraction(results, tmp_path, monkeypatch):
    frames = {}
    monkeypatch.setattr(visualization, "save_frames", lambda pictures, path: frames.update(pictures) or [])
    assert visualization.main([f"--out_path={results}", "--plot_type=pruned-units"]) == 0
    assert set(frames) == {f"{l1}k={k}" for l1 in ("", "l1_reg=0.001_") for k in ("0", "0.25", "0.5")}
    axes = frames["k=0.25"].axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == 225 and axes.get_title() == "fc1: 225 left"
    assert "25% pruned" in frames["k=0.25"].get_suptitle()


NAMES = ("lr", "grow", "keep_alive", "levels", "arm", "cycles", "pruner_revision")
VARIANTS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["1", "2", "10"]))
RUNS = st.lists(
    st.tuples(st.sampled_from(["dense", "snip", "grasp", "random/igq", "synflow/igq"]), VARIANTS), min_size=1
)


@given(RUNS)
def test_labels_and_looks_are_unique_and_say_nothing_that_all_share(runs):
    shared = "--data=mnist --batch_size=7 --target_sparsity=0.5"
    texts = [f"{shared} {' '.join(f'--{name}={value}' for name, value in settings.items())}" for _, settings in runs]
    rows = pd.DataFrame({"pruner": [pruner for pruner, _ in runs], "settings": texts, "place": range(len(runs))})
    series = make_series(rows, style)
    groups = {(pruner, tuple(sorted(settings.items()))) for pruner, settings in runs}
    assert len(series) == len(groups) and sum(len(item.rows) for item in series) == len(runs)
    assert len({item.label for item in series}) == len(series)
    looks = {(item.colour, item.marker, item.linestyle, item.filling) for item in series}
    assert len(looks) == len(series)
    for item in series:
        named = dict(re.findall(r"(\w+)=(\w+)", item.label))
        assert not named.keys() & {"data", "batch_size", "target_sparsity"}
        kind = [dict(settings) for pruner, settings in groups if (pruner == "dense") == (item.name == "dense")]
        trained = [dict(settings) for _, settings in groups]
        for name in named:
            among = trained if name == "lr" else kind
            assert len({settings.get(name) for settings in among}) > 1, "what all share is not named"


def test_what_follows_from_an_arm_or_a_pruner_is_not_named():
    settings = [
        "--arm=union --cycles=3",
        "--arm=vanilla --lr_drops=5,7 --lr_drop_rate=0.1",
        "--arm=vanilla-cyclic --cycles=3",
    ]
    rows = pd.DataFrame({"pruner": "magnitude", "settings": settings})
    assert [item.label for item in make_series(rows, style)] == ["Union mask", "Vanilla", "Vanilla-cyclic"]
    more = pd.concat([rows, pd.DataFrame({"pruner": ["magnitude"], "settings": ["--arm=union --cycles=5"]})])
    labels = [item.label for item in make_series(more, style)]
    assert labels[:2] == ["Union mask, cycles=3", "Union mask, cycles=5"]
    pruners = ["synflow", "snip"]
    rows = pd.DataFrame({"pruner": pruners, "settings": ["--pruner_revision=synflow-1", ""]})
    assert [item.label for item in make_series(rows, style)] == ["SNIP", "SynFlow"]
    rows = pd.concat([rows, pd.DataFrame({"pruner": ["synflow"], "settings": [""]})])
    assert [item.label for item in make_series(rows, style)] == [
        "SNIP",
        "SynFlow",
        "SynFlow, pruner_revision=synflow-1",
    ]


def test_dense_networks_are_compared_by_their_training():
    rows = pd.DataFrame({
        "pruner": ["dense", "snip", "snip", "dense"],
        "settings": ["--lr=0.5", "--shuffle=1", "--shuffle=1 --lr=0.5", ""],
    })  # fmt: skip
    labels = [item.label for item in make_series(rows, style)]
    assert labels == ["Dense", "Dense, lr=0.5", "SNIP", "SNIP, lr=0.5"]
    dense = make_series(rows, style)[:2]
    assert dense[0].linestyle != dense[1].linestyle


def test_numbers_are_in_their_order():
    rows = pd.DataFrame({"pruner": "snip", "settings": [f"--levels={levels}" for levels in (10, 2, 1)]})
    assert [item.label for item in make_series(rows, style)] == ["levels=1", "levels=2", "levels=10"]


def test_defaults_of_methods_are_spelled_out():
    methods = {"grow": "gradient"}
    assert (
        spelled_out("--lr=0.5", methods) == "--lr=0.5 --grow=gradient" and spelled_out("", methods) == "--grow=gradient"
    )
    assert spelled_out("--grow=random", methods) == "--grow=random"
    assert visualization.methods("dynamic") == methods and visualization.methods("gone") == {}
    assert visualization.methods("union-mask") == {"arm": "union"} and visualization.methods("multishot") == {}
    assert variant_of("--data=a b --weights=x y --lr=0.5") == ("lr=0.5", "weights=x y"), "names may hold spaces"


def test_pruners_that_are_gone_look_different():
    rows = pd.DataFrame({"pruner": [f"gone{place}" for place in range(6)], "settings": ""})
    series = make_series(rows, visualization.style_of)
    assert len({(item.colour, item.marker) for item in series}) == 6
    assert math.isclose(np.ptp([len(item.rows) for item in series]), 0)
