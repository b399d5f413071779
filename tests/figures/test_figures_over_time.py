"""Figures of pruning over time and after training: what they draw, from tables written by hand."""

import os
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import main
import visualization
from Utils.figures.arms import arms
from Utils.figures.levels import levels
from Utils.figures.look import NothingToDrawError
from Utils.figures.overlaps import overlaps
from Utils.figures.sparsity import sparsity


def style(name: str) -> tuple[str, str, str]:
    return name.capitalize(), "#112233", "o"


def rows_with(tmp_path: Path, tables: dict[str, pd.DataFrame], count: int = 1, **columns) -> pd.DataFrame:
    """Rows of `summary.csv` whose folders hold tables."""
    rows = []
    for sample in range(count):
        folder = tmp_path / f"{sample}{''.join(columns.values())}"
        folder.mkdir(exist_ok=True, parents=True)
        (folder / "run.json").write_text('{"status": "complete"}')
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False)
        rows.append({"pruner": "magnitude", "settings": "", "target_compression": 10.0, "target_sparsity": 0.9,
                     "sample": sample, "folder": str(folder), "top1": 0.9 + 0.02 * sample} | columns)  # fmt: skip
    return pd.DataFrame(rows)


def line(figure, gid: str):
    (found,) = (item for axes in figure.axes for item in axes.lines if item.get_gid() == gid)
    return found


def test_sparsity_shows_every_step_of_the_masks(tmp_path):
    tables = {
        "sparsity": pd.DataFrame({"iteration": [0, 20], "direct_sparsity": [0.5, 0.9], "kept_direct": [5, 1]}),
        "training": pd.DataFrame({"iteration": [0, 40], "top1": [0.1, 0.8]}),
    }
    figure = sparsity(rows_with(tmp_path, tables), style)
    density, accuracy = line(figure, "Magnitude|density"), line(figure, "Magnitude|top1")
    assert density.get_xdata().tolist() == [0, 20, 40], "nothing that is no row"
    assert density.get_ydata().tolist() == pytest.approx([0.5, 0.1, 0.1]) and density.get_drawstyle() == "steps-post"
    assert accuracy.get_ydata().tolist() == [0.1, 0.8]
    with pytest.raises(NothingToDrawError):
        sparsity(rows_with(tmp_path / "empty", {}), style)


def test_levels_shows_rewound_and_new_weights(tmp_path):
    table = pd.DataFrame(
        [(0, "initial", 0.0, 0.9), (1, "rewound", 0.5, 0.95), (1, "new", 0.5, 0.85)],
        columns=["level", "weights", "direct_sparsity", "top1"],
    )
    figure = levels(rows_with(tmp_path, {"levels": table}, count=2), style)
    assert line(figure, "Magnitude|rewound").get_ydata().tolist() == [0.9, 0.95]
    new = line(figure, "Magnitude|new")
    assert new.get_ydata().tolist() == [0.9, 0.85] and new.get_linestyle() == "--"
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["50", "100"] and axes.xaxis_inverted()


def test_overlaps_and_arms(tmp_path):
    table = pd.DataFrame({"cycle": [1, 1, 2, 2], "other": [1, 2, 1, 2], "overlap": [1, 0.25, 0.25, 1]})
    figure = overlaps(rows_with(tmp_path, {"overlaps": table}), style)
    assert figure.axes[0].images[0].get_array().tolist() == [[1, 0.25], [0.25, 1]]
    rows = rows_with(tmp_path, {}, count=2, arm="union", settings="--arm=union")
    with pytest.raises(NothingToDrawError):
        arms(rows, style)
    both = pd.concat([rows, rows.assign(arm="vanilla", settings="--arm=vanilla", top1=[0.5, 0.7])])
    figure = arms(both, style)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["Union mask", "Vanilla"]
    union, vanilla = figure.axes[0].containers
    assert union.lines[0].get_ydata().tolist() == [pytest.approx(0.91)]
    low, high = vanilla.lines[2][0].get_segments()[0][:, 1]
    assert (high - low) / 2 == pytest.approx(0.1 * 2**0.5), "the standard deviation of 0.5 and 0.7"


def test_everything_is_drawn_from_real_runs(tmp_path, capsys):
    common = ["--data=digits", "--iterations=20", "--evaluate_every=10", f"--out_path={tmp_path}"]
    assert main.main(["--experiment=multishot", "--pruner=magnitude", "--levels=2", "--reinitialize", *common]) == 0
    union = ["--experiment=union-mask", "--arm=union,vanilla", "--cycles=3", "--prune_every=3"]
    assert main.main([*union, "--pruner=magnitude", *common]) == 0
    assert main.main(["--experiment=train-then-prune", "--k_vals=0,0.5", *common]) == 0
    capsys.readouterr()
    assert visualization.main([f"--out_path={tmp_path}"]) == 0
    printed = capsys.readouterr()
    names = {Path(path).stem for path in printed.out.split()}
    for name in (
        "multishot_lenet300100_digits_direct_levels", "union-mask_lenet300100_digits_direct_sparsity",
        "union-mask_lenet300100_digits_direct_overlaps", "union-mask_lenet300100_digits_direct_arms",
        "train-then-prune_lenet300100_digits_weights-and-units", "train-then-prune_lenet300100_digits_trained",
        "train-then-prune_lenet300100_digits_pruned-units_k=0.5",
    ):  # fmt: skip
        assert name in names
    assert not any(name.startswith("train-then-prune") and name.endswith("accuracies") for name in names)
    with Image.open(tmp_path / "figures/train-then-prune_lenet300100_digits_pruned-weights.gif") as animation:
        assert animation.n_frames == 2 and animation.info["duration"] == 1000
    weights = next((tmp_path / "train-then-prune").rglob("weights.safetensors"))
    content, state = weights.read_bytes(), weights.stat()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert visualization.main([f"--out_path={tmp_path}", "--experiment=train-then-prune"]) == 2
    printed = capsys.readouterr()
    assert f"pruned-weights: {weights} is damaged" in printed.err and "weights-and-units.png" in printed.out
    weights.unlink()
    assert visualization.main([f"--out_path={tmp_path}", "--plot_type=pruned-weights"]) == 2
    assert "pruned-weights: their weights were not kept" in capsys.readouterr().err
    assert visualization.main([f"--out_path={tmp_path}", "--plot_type=levels"]) == 0, "of the experiment that has them"
    assert visualization.main([f"--out_path={tmp_path}", "--experiment=multishot", "--plot_type=overlaps"]) == 2
    assert "these networks have no masks of several cycles" in capsys.readouterr().err
