"""The figures of layers, units, masks and training contain what the tables of the runs say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import run_folder

import main
import visualization
from Layers import Masks
from Models import build
from Pruners.registry import style
from Utils.connectivity import effective_masks
from Utils.figures.layers import dead_units, layers
from Utils.figures.look import NothingToDrawError
from Utils.figures.masks import masks
from Utils.figures.training import training
from Utils.results.summaries import read_summaries

PRUNERS = ("dense", "snip", "random/uniform")
TARGETS = (0.9, 0.999)


def run(folder: Path, *words: str) -> None:
    assert main.main(["--data=digits", f"--out_path={folder}", *words]) == 0


@pytest.fixture(scope="module")
def campaign(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("campaign")
    targets = ["--target_sparsity", *map(str, TARGETS)]
    run(folder, "--pruner", *PRUNERS, *targets, "--sample=0,1", "--iterations=20", "--evaluate_every=10")
    return folder


@pytest.fixture
def rows(campaign) -> pd.DataFrame:
    return read_summaries(campaign)[0]


def curves(axes) -> dict[str, np.ndarray]:
    return {line.get_gid(): np.asarray(line.get_ydata(), dtype=float) for line in axes.lines if line.get_gid()}


def tables(rows: pd.DataFrame, pruner: str, target: float, name: str) -> list[pd.DataFrame]:
    part = rows[(rows["pruner"] == pruner) & np.isclose(rows["target_sparsity"], target)]
    assert len(part) == 2
    return [pd.read_csv(Path(folder) / f"{name}.csv") for folder in part["folder"]]


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_layers_show_mean_densities_and_mark_what_is_empty(rows):
    figure = layers(rows, style, "a title")
    assert [axes.get_title() for axes in figure.axes] == ["target 10x", "target 1000x"]
    for axes, target in zip(figure.axes, TARGETS, strict=True):
        assert [text.get_text() for text in axes.get_xticklabels()] == ["fc1", "fc2", "fc3"]
        for pruner, label in (("snip", "SNIP"), ("random/uniform", "Uniform (random)")):
            found = tables(rows, pruner, target, "layers")
            for kind in ("direct", "effective"):
                mean = np.mean([table[f"kept_{kind}"] / table["size"] for table in found], axis=0)
                drawn = curves(axes)[f"{label}|{kind}"]
                np.testing.assert_allclose(np.nan_to_num(drawn), mean)
                if kind == "effective":
                    empty = [line for line in axes.lines if line.get_gid() == "empty"]
                    marked = sum(len(line.get_xdata()) for line in empty if line.get_color() == style(pruner)[1])
                    assert marked == (mean == 0).sum() == np.isnan(drawn).sum()
    assert legend(figure) == ["Uniform (random)", "SNIP", "effective", "direct", "nothing effective"]
    assert figure.axes[0].get_yscale() == "log" and figure.get_suptitle() == "a title"


def test_dead_units_add_up_to_those_of_the_summary(rows):
    figure = dead_units(rows, style)
    for axes, target in zip(figure.axes, TARGETS, strict=True):
        for pruner, label in (("snip", "SNIP"), ("random/uniform", "Uniform (random)")):
            found = tables(rows, pruner, target, "units")
            assert list(found[0]["layer"]) == ["fc1.weight", "fc2.weight"] and list(found[0]["units"]) == [300, 100]
            part = rows[(rows["pruner"] == pruner) & np.isclose(rows["target_sparsity"], target)]
            assert [int(table["dead_units"].sum()) for table in found] == list(part["dead_units"])
            assert all((table["direct_dead_units"] <= table["dead_units"]).all() for table in found)
            mean = np.mean([table["dead_units"] / table["units"] for table in found], axis=0)
            np.testing.assert_allclose(curves(axes)[f"{label}|effective"], mean)


def test_tables_of_inputs_and_units_against_the_masks(campaign, rows):
    row = rows[(rows["pruner"] == "snip") & np.isclose(rows["target_sparsity"], 0.999)].iloc[0]
    kept = Masks.load(run_folder(campaign, row) / "masks.safetensors")
    used = effective_masks(build("lenet300100"), (1, 28, 28), kept)
    inputs = pd.read_csv(Path(row["folder"]) / "inputs.csv")
    assert list(inputs.columns) == ["channel", "row", "column", "kept_direct", "kept_effective", "is_kernel"]
    assert len(inputs) == 784 and (inputs["row"] * 28 + inputs["column"]).tolist() == list(range(784))
    assert inputs["kept_direct"].tolist() == kept["fc1.weight"].sum(0).tolist()
    assert inputs["kept_effective"].tolist() == used["fc1.weight"].sum(0).tolist()
    units = pd.read_csv(Path(row["folder"]) / "units.csv").set_index("layer")
    for name in ("fc1.weight", "fc2.weight"):
        assert units.loc[name, "direct_dead_units"] == int((~kept[name].any(1)).sum())
        assert units.loc[name, "dead_units"] == int((~used[name].any(1)).sum())


def test_masks_are_the_counts_of_the_table(rows):
    figure = masks(rows, style, "a title")
    panels = np.array(figure.axes[:8]).reshape(2, 4)
    assert [axes.get_ylabel() for axes in panels[:, 0]] == ["Uniform (random)", "SNIP"]
    assert [axes.get_xlabel() for axes in panels[1]] == ["kept", "effective"] * 2
    table = tables(rows, "snip", 0.9, "inputs")[0]
    for axes, column in zip(panels[1, :2], ("kept_direct", "kept_effective"), strict=True):
        (image,) = axes.get_images()
        np.testing.assert_array_equal(image.get_array(), table[column].to_numpy().reshape(28, 28))
    for bar, target in zip(figure.axes[8:], TARGETS, strict=True):
        assert bar.get_xlabel() == "weights left per input"
        highest = max(tables(rows, pruner, target, "inputs")[0]["kept_direct"].max() for pruner in PRUNERS[1:])
        column = TARGETS.index(target) * 2
        assert {axes.images[0].get_clim() for axes in panels[:, column : column + 2].flat} == {(0, highest)}


def test_kernels_of_a_convolution_stand_side_by_side(tmp_path):
    run(tmp_path, "--architecture=lenet5", "--train=0", "--pruner=random", "--target_sparsity=0.5")
    rows = read_summaries(tmp_path).rows
    table = pd.read_csv(Path(rows["folder"].iloc[0]) / "inputs.csv")
    assert len(table) == 3 * 5 * 5 and table["is_kernel"].all()
    (image,) = masks(rows, style).axes[0].get_images()
    picture = np.asarray(image.get_array())
    assert masks(rows, style).axes[-1].get_xlabel() == "weights left per kernel entry"
    counts = table["kept_direct"].to_numpy().reshape(3, 5, 5)
    assert picture.shape == (5, 17)
    np.testing.assert_allclose(picture[:, 6:11], counts[1])


def test_training_shows_means_and_bands(rows):
    figure = training(rows, style)
    columns = np.array(figure.axes).reshape(3, 2)
    assert [axes.get_ylabel() for axes in columns[:, 0]] == ["Top-1 accuracy", "Loss", "Rate"]
    for place, target in enumerate(TARGETS):
        for pruner, label in (("random/uniform", "Uniform (random)"),):
            found = [table for table in tables(rows, pruner, target, "training") if len(table) > 1]
            mean = pd.concat(found).groupby("iteration").mean() if found else None
            if mean is not None:
                np.testing.assert_allclose(curves(columns[0, place])[f"{label}|top1"], mean["top1"])
                np.testing.assert_allclose(curves(columns[1, place])[f"{label}|loss"], mean["test_loss"])
        assert "Dense|top1" in curves(columns[0, place]), "the dense network stands in every column"
        assert set(curves(columns[2, place])["lr"]) == {0.1}
    assert {"Dense", "SNIP", "on the test set", "while training"} <= set(legend(figure))


@pytest.mark.parametrize("make", [layers, dead_units, masks, training])
def test_runs_without_the_table_have_no_figure(rows, make, tmp_path):
    (tmp_path / "run.json").write_text('{"status": "complete"}')
    with pytest.raises(NothingToDrawError):
        make(rows.assign(folder=str(tmp_path)), style)


def test_many_layers_are_numbered_and_many_levels_thinned_out(tmp_path):
    levels = ["--target_sparsity", "0.5", "0.6", "0.7", "0.8", "0.9", "0.95"]
    words = ["--architecture=imagenet/squeezenet1_1", "--image_size=32", "--train=0", "--pruner=random/uniform"]
    run(tmp_path, *words, *levels)
    rows = read_summaries(tmp_path).rows
    figure = layers(rows, style)
    assert [axes.get_title() for axes in figure.axes] == [f"target {x}x" for x in ("2", "3.333", "5", "20")]
    assert figure.axes[0].get_xlabel() == "Layer" and len(figure.axes[0].get_xticks()) <= 13


def test_a_wish_that_no_run_can_grant_is_a_mistake(tmp_path, capsys):
    run(tmp_path, "--train=0", "--pruner=random")
    capsys.readouterr()
    assert visualization.main([f"--out_path={tmp_path}", "--plot_type=training"]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "these networks were not trained" in printed.err
    assert visualization.main([f"--out_path={tmp_path}"]) == 0
    assert "training" not in capsys.readouterr().out


def test_masks_of_inputs_that_are_no_image(tmp_path):
    table = pd.DataFrame({"channel": range(7), "row": 0, "column": 0, "kept_direct": range(7), "kept_effective": 0,
                          "is_kernel": 0})  # fmt: skip
    from Utils.figures.masks import _picture

    assert _picture(table, "kept_direct").tolist() == [[0, 1, 2], [3, 4, 5], [6, 0, 0]]
