"""Figures contain what the CSV says, and the plotting command answers mistakes in one line."""

import json
import math
import os
import shutil
import warnings
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

import visualization
from Experiments.registry import EXPERIMENTS
from Pruners.registry import style
from Utils.figures.accuracies import accuracies
from Utils.figures.compressions import compressions
from Utils.figures.look import save_figure
from Utils.figures.selection import Plot, select
from Utils.figures.series import make_series
from Utils.results import load_summaries
from Utils.results.schema import SUMMARY_COLUMNS

CHANCE = 0.1135


def row(
    pruner: str, target: float, sample: int = 0, effective: float | None = None, top1: float = 0.9, **other
) -> dict:
    effective = target if effective is None else effective
    return dict.fromkeys(SUMMARY_COLUMNS) | {
        "run": f"{pruner}{target}{sample}{other}", "status": "complete", "error": "", "settings": "",
        "experiment": "singleshot", "architecture": "lenet300100", "data": "mnist", "pruner": pruner,
        "pruning_type": "direct", "sample": sample, "target_compression": target, "prunable": 1000,
        "direct_compression": target, "effective_compression": effective, "collapsed": math.isinf(effective),
        "graph_kept_effective": 0 if math.isinf(effective) else 500 / effective, "top1": top1, "chance": CHANCE,
    } | other  # fmt: skip


ROWS = pd.DataFrame(
    [row("dense", 1, sample, top1=0.98 + sample / 100) for sample in (0, 1)]
    + [row("snip", 10, sample, 10.5 + sample, 0.95 + sample / 100) for sample in (0, 1, 2)]
    + [row("snip", 100, 0, 150, 0.8), row("snip", 100, 1, 200, 0.7), row("snip", 100, 2, math.inf, 0.098)]
    + [row("snip", 1000, sample, math.inf, 0.098) for sample in (0, 1, 2)]
    + [row("synflow", 10, 0, 10, 0.97), row("synflow", 100, 0, 100, 0.9), row("synflow", 1000, 0, 1000, 0.6)]
)


def lines(figure) -> dict[str, np.ndarray]:
    return {line.get_gid(): line.get_xydata() for line in figure.axes[0].lines if line.get_gid()}


def marks(figure) -> list[tuple]:
    collapsed = [line for line in figure.axes[0].lines if line.get_gid() == "collapsed"]
    return sorted((line.get_xdata()[0], line.get_ydata()[0], line.get_color()) for line in collapsed)


def test_accuracies_show_means_over_samples_against_both_compressions():
    figure = accuracies(ROWS, style)
    found = lines(figure)
    middle = (10.5 * 11.5 * 12.5) ** (1 / 3)
    np.testing.assert_allclose(found["SNIP|effective"][0], [middle, 0.96])
    np.testing.assert_allclose(found["SNIP|effective"][1], [(150 * 200) ** 0.5, (0.8 + 0.7 + CHANCE) / 3])
    np.testing.assert_allclose(found["SNIP|effective"][2], [1000, CHANCE])
    np.testing.assert_allclose(found["SNIP|direct"][:, 0], [10, 100, 1000])
    np.testing.assert_allclose(found["SNIP|direct"][:, 1], found["SNIP|effective"][:, 1])
    np.testing.assert_allclose(found["SynFlow|effective"], [[10, 0.97], [100, 0.9], [1000, 0.6]])
    np.testing.assert_allclose(found["Dense"][:, 1], 0.985)
    np.testing.assert_allclose(found["chance"][:, 1], CHANCE)
    assert marks(figure) == [(100, pytest.approx(CHANCE), style("snip")[1]), (1000, pytest.approx(CHANCE), "#0072b2")]
    solid = {line.get_gid(): line.get_linestyle() for line in figure.axes[0].lines}
    assert solid["SNIP|effective"] == "-" and solid["SNIP|direct"] == "--"


def test_bands_reach_from_minimum_to_maximum():
    figure = accuracies(ROWS[ROWS["pruner"].isin(["dense", "snip"])], style)
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(CHANCE) and band[:, 1].max() == pytest.approx(0.97)
    dense = next(patch for patch in figure.axes[0].patches)
    box = dense.get_extents().transformed(figure.axes[0].transData.inverted())
    assert (box.y0, box.y1) == (pytest.approx(0.98), pytest.approx(0.99))


def test_networks_of_one_compression_have_an_axis(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = [row("dense", 1), row("random", 10), row("snip", 10, top1=0.8)]
        figure = accuracies(pd.DataFrame(rows), style)
        save_figure(figure, tmp_path / "figure")
        low, high = figure.axes[0].get_xlim()
        assert low < 10 < high


def test_compressions_show_effective_against_target():
    figure = compressions(ROWS, style)
    found = lines(figure)
    np.testing.assert_allclose(found["SNIP|effective"], [[10, (10.5 * 11.5 * 12.5) ** (1 / 3)], [100, 30000**0.5]])
    np.testing.assert_allclose(found["SynFlow|effective"], [[10, 10], [100, 100], [1000, 1000]])
    assert "Dense" not in found
    assert [(x, colour) for x, _, colour in marks(figure)] == [(100, style("snip")[1]), (1000, style("snip")[1])]
    axes = figure.axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "log"


@pytest.mark.parametrize("make", [accuracies, compressions])
def test_legends_name_what_is_drawn(make):
    figure = make(ROWS, style, "a title")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "SNIP" in texts and "SynFlow" in texts and any("collapsed" in text for text in texts)
    assert figure.axes[0].get_title() == "a title" and "ompression" in figure.axes[0].get_xlabel()


def test_settings_that_differ_are_curves_of_their_own():
    rows = pd.DataFrame([
        row("snip", 10, settings="--data=mnist --lr=0.5 --batch_size=7"),
        row("snip", 10, settings="--batch_size=7 --pruner=snip --sample=1", sample=1),
        row("random/igq", 10, settings="--batch_size=7 --pruner=random/igq"),
    ])  # fmt: skip
    assert [series.label for series in make_series(rows, style)] == ["IGQ (random)", "SNIP", "SNIP, lr=0.5"]
    assert [len(series.rows) for series in make_series(rows, style)] == [1, 1, 1]
    assert len({(series.colour, series.marker, series.filling) for series in make_series(rows, style)}) == 3
    assert [s.name for s in make_series(rows, style, ["snip", "random/igq"])] == ["snip", "snip", "random/igq"]


def test_graph_compression_on_demand():
    plot = Plot(effective_type="graph", num_samples=1)
    ((name, rows),) = select(ROWS, plot)
    assert name == "singleshot_lenet300100_mnist_direct"
    found = lines(compressions(rows, style))
    np.testing.assert_allclose(found["SynFlow|effective"][:, 1], [20, 200, 2000])
    np.testing.assert_allclose(found["SNIP|effective"], [[10, 21], [100, 300]])


def test_pictures_are_written_in_both_formats(tmp_path):
    paths = save_figure(accuracies(ROWS, style), tmp_path / "figure.name")
    assert [path.name for path in paths] == ["figure.name.png", "figure.name.pdf"]
    picture = matplotlib.image.imread(paths[0])
    assert picture.shape[1] > 1000 and 0.02 < (picture[:, :, :3] < 0.9).mean() < 0.5
    assert paths[1].read_bytes().startswith(b"%PDF")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory) -> Path:
    """A small real campaign, run once."""
    import main

    folder = tmp_path_factory.mktemp("campaign")
    words = ["--pruner=dense,snip,synflow,random/igq", "--pruning_type=direct,effective", "--sample=0,1,2"]
    assert main.main([*words, "--target_sparsity=0.9,0.999", "--data=digits", "--train=0", f"--out_path={folder}"]) == 0
    return folder


@pytest.fixture
def results(campaign, tmp_path) -> Path:
    shutil.copytree(campaign, tmp_path / "out")
    return tmp_path / "out"


def test_the_plotting_command(results, capsys):
    assert visualization.main([f"--out_path={results}"]) == 0
    printed = [Path(line) for line in capsys.readouterr().out.split()]
    stem = "singleshot_lenet300100_digits"
    names = {f"{stem}_{type_}_{kind}{suffix}" for type_ in ("direct", "effective")
             for kind in ("accuracies", "compressions", "layers", "dead-units", "masks", "collapse")
             for suffix in (".png", ".pdf")}  # fmt: skip
    assert {path.name for path in printed} == names == {path.name for path in (results / "figures").iterdir()}


def test_results_without_any_figure_are_named(results, capsys, monkeypatch):
    monkeypatch.setattr(EXPERIMENTS["singleshot"], "figures", ())
    assert visualization.main([f"--out_path={results}", "--pruning_type=direct"]) == 2
    error = capsys.readouterr().err
    assert (
        "no kind of figure shows these results: singleshot_lenet300100_digits_direct" in error
        and error.count("\n") == 1
    )


def test_the_line_of_the_original_program(results, capsys):
    line = "--architecture=lenet300100 --pruners_to_display=snip synflow random/igq --num_samples=3"
    assert visualization.main([*line.split(), "--pruning_type=effective", f"--out_path={results}"]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("effective_accuracies") == 2 and "direct" not in printed.out and printed.err == ""
    words = ["--effective_type=custom", "--plot_type=compressions", "--num_samples=4"]
    assert visualization.main([*words, f"--out_path={results}"]) == 0
    printed = capsys.readouterr()
    assert "fewer than 4 samples" in printed.err and "accuracies" not in printed.out


def test_figures_contain_what_the_csv_says(results):
    rows = load_summaries(results)
    for name, part in select(rows, Plot()):  # no network was trained, so there is no figure of training
        found = lines(accuracies(part, style))
        mean = part[part["pruner"] == "synflow"].groupby("target_compression")["top1"].mean()
        np.testing.assert_allclose(found["SynFlow|direct"][:, 1], mean.to_numpy())
        assert name.split("_")[3] in set(part["pruning_type"])


def test_a_damaged_folder_among_good_ones(results, capsys):
    victim = next(results.rglob("snip/effective/1_*"))
    (victim / "summary.csv").write_text("run,status\n")
    assert visualization.main([f"--out_path={results}"]) == 2
    printed = capsys.readouterr()
    assert printed.out.count(".png") == 12 and printed.err.count("\n") == 1
    assert f"{victim}/summary.csv is damaged" in printed.err and "left out" in printed.err


def test_a_table_that_changed_unnoticed_prevents_its_figures_only(results, capsys):
    victim = next(results.rglob("snip/effective/1_*")) / "layers.csv"
    state, content = victim.stat(), victim.read_bytes()
    victim.write_bytes(content.replace(b"fc1", b"fc7"))
    os.utime(victim, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert visualization.main([f"--out_path={results}"]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and f"effective_layers: {victim} is damaged" in printed.err
    assert printed.out.count(".png") == 11 and "effective_layers" not in printed.out
    assert visualization.main([f"--out_path={results}", "--plot_type=layers", "--pruning_type=effective"]) == 2
    assert f"{victim} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "message"), [
    (["--pruners_to_display=snp"], "unknown pruner 'snp'; did you mean 'snip'?"),
    (["--pruners_to_display=mag"], "no complete runs of mag for this; there are: lenet300100"),
    (["--architecture=lenet5"], "no complete pruned network to draw; there are: lenet300100 digits"),
    (["--data=mnist", "--pruners_to_display=snip"], "no complete runs of snip for this; there are: lenet300100"),
    (["--plot_type=accuracy"], "did you mean 'accuracies'?"),
    (["--num_samples=0"], "--num_samples must be greater than 0, not 0"),
    (["--pruner=snip"], "unknown flag --pruner; did you mean --pruners_to_display?"),
    (["--out_path=nowhere"], "--out_path=nowhere is no folder; run main.py first"),
])  # fmt: skip
def test_mistakes(results, words, message, capsys):
    assert visualization.main([f"--out_path={results}", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("visualization.py: ") and message in error and error.count("\n") == 1
    assert not (results / "figures").exists()


def test_text_where_numbers_belong_and_names_that_are_gone(results, capsys):
    victim, other = next(results.rglob("snip/effective/1_*")), next(results.rglob("synflow/effective/1_*"))
    for folder, column, value in (
        (victim, "top1", "abc"),
        (other, "pruner", "gone/igq"),
        (other, "architecture", "vgg"),
    ):
        record = json.loads((folder / "run.json").read_text())
        # Without digests, as those of earlier versions.
        record = {name: value for name, value in record.items() if name not in ("files", "digest")}
        (folder / "run.json").write_text(json.dumps(record))
        table = pd.read_csv(folder / "summary.csv", dtype=object)
        table[column] = value
        table.to_csv(folder / "summary.csv", index=False)
    assert visualization.main([f"--out_path={results}", "--plot_type=layers"]) == 2
    printed = capsys.readouterr()
    assert str(victim) in printed.err and "damaged" in printed.err
    assert "singleshot_vgg_digits_effective" in printed.out


def test_samples_are_counted_for_each_network():
    rows = pd.concat([ROWS, pd.DataFrame([row("mag", 10, sample) for sample in (7, 8, 9)])])
    ((_, part),) = select(rows, Plot(num_samples=2))
    counts = part.groupby("pruner")["sample"].unique()
    assert {name: list(found) for name, found in counts.items()} == {
        "dense": [0, 1], "mag": [7, 8], "snip": [0, 1], "synflow": [0]
    }  # fmt: skip


def test_a_folder_without_results(tmp_path, capsys):
    assert visualization.main([f"--out_path={tmp_path}"]) == 2
    assert "holds no complete runs; start some with: python main.py" in capsys.readouterr().err


def test_only_failed_or_dense_runs(results, capsys):
    for folder in (results / "singleshot/lenet300100/digits").iterdir():
        if folder.name != "dense":
            shutil.rmtree(folder)
    assert visualization.main([f"--out_path={results}"]) == 2
    assert "no complete pruned network to draw" in capsys.readouterr().err
