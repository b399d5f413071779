"""The page about extending is true: its code runs in a copy of the sources, and its commands do what it says."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, make_batches, rows_of, run_folder
from extending import PAGE, QUICK, Section, execute, extend
from safetensors.torch import load_file
from torch import nn

from Layers import Masks, mask_model, prunable
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Pruners.registry import style
from Utils.connectivity import effective_masks
from Utils.connectivity.ops import table
from Utils.connectivity.ops.elementwise import PassThrough
from Utils.connectivity.ops.op import Op
from Utils.connectivity.unit_groups import unit_groups
from Utils.data.image_spec import ImageSpec
from Utils.errors import UserError
from Utils.figures.look import NothingToDrawError


def layers_of(results: Path, row: pd.Series) -> pd.DataFrame:
    return pd.read_csv(run_folder(results, row) / "layers.csv", index_col="layer")


def check_pruner(section: Section, results: Path) -> None:
    rows = rows_of(results).set_index("pruner")
    assert set(rows.index) == {"steepest", "steepest/erk", "random/steepest"}
    assert (rows["pruning_type"] == "effective").all() and (rows["target_kept"] == 2_662).all()
    assert (rows["kept_effective"] >= 2_662).all() and (rows["kept_direct"] < 26_620).all()
    model, batches = build("lenet300100"), make_batches((1, 28, 28))
    scores = section.definitions("Pruners/criteria/steepest.py")["steepest"](model, batches, None)
    loss = sum(F.cross_entropy(model(inputs), labels) for inputs, labels in batches) / len(batches)
    assert isinstance(loss, torch.Tensor)
    gradients = torch.autograd.grad(loss, [weight for weight, _ in prunable(model).values()])
    assert list(scores) == list(prunable(model))
    for score, gradient in zip(scores.values(), gradients, strict=True):
        torch.testing.assert_close(score, gradient.abs())


def check_quota(section: Section, results: Path) -> None:
    ((_, row),) = rows_of(results).iterrows()
    assert row["pruner"] == "snip/equal" and row["kept_direct"] == 266_200 - 252_890
    kept = layers_of(results, row)["kept_direct"]
    assert kept.to_dict() == {"fc1.weight": 6_155, "fc2.weight": 6_155, "fc3.weight": 1_000}
    masks = Masks.load(run_folder(results, row) / "masks.safetensors")
    assert {name: int(mask.sum()) for name, mask in masks.items()} == kept.to_dict()


def check_architecture(section: Section, results: Path) -> None:
    ((_, row),) = rows_of(results).iterrows()
    ((_, _, entry),) = section.additions
    assert f"{row['prunable']:_}" in entry and row["prunable"] == 3 * 9 * 16 + 16 * 9 * 32 + 32 * 10
    assert row["architecture"] == "allconv" and row["kept_effective"] == 536 and not row["collapsed"]
    make = section.definitions("Models/allconv.py")["allconv"]
    model = make((1, 9, 7), 5, "batch", width=4)
    assert model(torch.randn(3, 1, 9, 7)).shape == (3, 5) and len(prunable(model)) == 3
    assert not any("running" in name for name in model.state_dict())


def prepare_data(folder: Path) -> None:
    pixels = np.random.default_rng(0)
    arrays = {}
    for name, count in (("train", 1200), ("test", 240)):
        arrays[f"{name}_images"] = pixels.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{name}_labels"] = np.minimum(np.arange(count) % 15, 11)
    np.savez(folder / "glyphs.npz", **arrays)


def check_data(section: Section, results: Path) -> None:
    ((_, row),) = rows_of(results).iterrows()
    assert row["data"] == "glyphs" and row["prunable"] == 235_200 + 30_000 + 12 * 100
    assert layers_of(results, row)["shape"]["fc3.weight"] == "12x100"
    assert row["chance"] == pytest.approx(4 / 15)
    make, folder, spec = section.definitions("Utils/data/glyphs.py")["Glyphs"], results.parent, ImageSpec((1, 28, 28))
    (images, labels), (test_images, test_labels) = make(folder, spec).load()
    assert images.shape == (1200, 1, 28, 28) and images.dtype == torch.uint8 and len(test_images) == 240
    assert labels.dtype == test_labels.dtype == torch.int64 and set(labels.tolist()) == set(range(12))
    assert make(folder, spec).find() and not make(results, spec).find()
    with pytest.raises(ConnectionError):
        make(results, spec).download()
    (folder / "glyphs.npz").write_bytes((folder / "glyphs.npz").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"glyphs\.npz is damaged"):
        make(folder, spec).load()


def check_experiment(section: Section, results: Path) -> None:
    rows = rows_of(results)
    rounded = rows[rows["experiment"] == "quantised"].set_index("bits")
    singles = rows[(rows["experiment"] == "singleshot") & (rows["sample"] == 0)].set_index(
        ["pruner", "target_sparsity"]
    )
    pruned, dense = singles.loc[("snip", 0.9)], singles.loc[("dense", 0.0)]
    assert set(rounded.index) == {16, 4, 2} and (rounded["kept_direct"] == 26_620).all()
    assert (rounded["pruned_top1"] == pruned["top1"]).all() and (rounded["dense_top1"] == dense["top1"]).all()
    assert rounded.loc[16, "top1"] == pytest.approx(pruned["top1"], abs=0.003)
    assert rounded.loc[2, "top1"] < rounded.loc[16, "top1"]
    for _, row in rounded.iterrows():
        assert f"{row['top1']:.4f}" in (run_folder(results, row) / "report.html").read_text()
    check_quantise(section.definitions("Experiments/quantised.py")["quantise"])
    assert [path.name for path in (results / "figures").glob("*.png")] == [
        "quantised_lenet300100_digits_direct_bits.png"
    ]
    check_study(results, rows)


def check_quantise(quantise: Callable) -> None:
    model = build("lenet5")
    prunable(model)["fc3.weight"][1][:] = False
    before = {name: weight.detach().clone() for name, (weight, _) in prunable(model).items()}
    quantise(model, 3)
    for name, (weight, mask) in prunable(model).items():
        assert weight.isfinite().all()
        if mask.any():
            step = before[name].abs().max() / 3
            torch.testing.assert_close(weight, (before[name] / step).round() * step)
            assert weight.unique().numel() == 7


def check_study(results: Path, rows: pd.DataFrame) -> None:
    (study,) = (row for _, row in rows[rows["experiment"] == "spread"].iterrows())
    folder = results / "spread" / study["run"]
    samples = rows[(rows["experiment"] == "singleshot") & (rows["target_sparsity"] == 0.95)]
    assert sorted(samples["sample"]) == [0, 1] and study["top1"] == pytest.approx(samples["top1"].mean())
    table = pd.read_csv(folder / "spread.csv", index_col="column")
    assert table.loc["kept_effective", "std"] == pytest.approx(samples["kept_effective"].std())
    assert "<table" in (folder / "spread.html").read_text()
    assert json.loads((folder / "run.json").read_text())["attachments"] == ["spread.html"]


def check_figure(section: Section, results: Path) -> None:
    stem = "singleshot_lenet300100_digits_direct_pruning-time"
    assert {path.name for path in (results / "figures").iterdir()} == {f"{stem}.png", f"{stem}.pdf"}
    picture = matplotlib.image.imread(results / "figures" / f"{stem}.png")
    assert picture.shape[1] > 1000 and (picture[:, :, :3] < 0.9).any()
    rows = rows_of(results)
    draw = section.definitions("Utils/figures/pruning_time.py")["pruning_time"]
    lines = {line.get_label(): line.get_xydata() for line in draw(rows, style).axes[0].lines}
    for name, label in (("snip", "SNIP"), ("synflow", "SynFlow")):
        own = rows[rows["pruner"] == name].sort_values("target_compression")
        np.testing.assert_array_equal(lines.pop(label), own[["target_compression", "prune_seconds"]])
    assert not lines
    with pytest.raises(NothingToDrawError):
        draw(rows[rows["target_sparsity"] == 0.9], style)


def check_operation(section: Section, results: Path) -> None:
    """Instance normalisation is the group normalisation with a group per channel; small maps tell it from identity."""
    ((_, row),) = rows_of(results).iterrows()
    assert row["architecture"] == "my_network.py:network" and row["kept_effective"] >= row["target_kept"] == 268
    model = mask_model(section.definitions("my_network.py")["network"]((1, 3, 5)), (1, 3, 5))
    with pytest.raises(UserError, match="no rule says how the operation InstanceNorm2d"):
        effective_masks(model, (1, 3, 5))
    entry = section.definitions("Utils/connectivity/ops/instance.py")["InstanceNorm"]()
    grouped = nn.Sequential(*model)
    for index in (1, 4):
        assert isinstance(model[index], nn.InstanceNorm2d)
        grouped[index] = nn.GroupNorm(model[index].num_features, model[index].num_features)
    differing = 0
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        scores = make_pruner("random").score(model, generator=generator)
        masks = allocate(model, scores, "0.97", (1, 3, 5), "direct")
        effective = {}
        for name, network, own in (("own", model, entry), ("known", grouped, None), ("none", model, PassThrough())):
            with pytest.MonkeyPatch.context() as patch:
                if own is not None:
                    patch.setitem(table.OPERATIONS, nn.InstanceNorm2d, own)
                effective[name] = effective_masks(network, (1, 3, 5), masks)
        assert 0 < Masks(effective["known"]).kept < masks.kept
        assert all(torch.equal(effective["own"][name], mask) for name, mask in effective["known"].items())
        differing += any(not torch.equal(effective["none"][name], mask) for name, mask in effective["known"].items())
    assert differing
    check_other_answers(model, entry)


def check_other_answers(model: nn.Module, entry: Op) -> None:
    """The entry's answers to unit pruning and to SynFlow."""

    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)
            self.norm, self.head = nn.InstanceNorm2d(2), nn.Conv2d(2, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.left(x) + self.norm(self.right(x)))

    with pytest.raises(UserError, match="no rule says how the operation InstanceNorm2d"):
        unit_groups(Normalised(), (1, 3, 5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(table.OPERATIONS, nn.InstanceNorm2d, entry)
        (group,) = unit_groups(Normalised(), (1, 3, 5)).groups.values()
        assert {name: places.tolist() for name, places in group.places.items()} == {
            "left.weight": [0, 1],
            "right.weight": [0, 1],
        }
        with pytest.raises(UserError, match=r"synflow cannot make InstanceNorm2d \(1\) linear"):
            make_pruner("synflow").score(model, make_batches((1, 3, 5)))


def check_form(section: Section, results: Path) -> None:
    rows = rows_of(results).set_index("limit")
    assert set(rows.index) == {0.02, 0.1} and (rows["status"] == "complete").all()
    for limit, row in rows.iterrows():
        weights = load_file(run_folder(results, row) / "weights.safetensors")
        kernels = torch.cat([weight.flatten() for name, weight in weights.items() if weight.dim() > 1])
        assert kernels.abs().max() == torch.tensor(limit) and int((kernels != 0).sum()) <= row["kept_direct"]
    assert rows["top1"].nunique() == 2
    model, form = build("lenet300100"), section.definitions("Layers/forms/clipped.py")["Clipped"](0.01)
    prunable(model)["fc1.weight"][1][:100] = False
    before = prunable(model)["fc1.weight"][0].detach().clone()
    with form.holding(model):
        held, state = model.fc1.weight.detach().clone(), form.state()
    assert not held[:100].any() and torch.equal(held[100:], before[100:].clamp(-0.01, 0.01))
    for after in (model.fc1.weight, state["fc1.weight"]):
        assert torch.equal(after, torch.cat([before[:100], before[100:].clamp(-0.01, 0.01)]))


CHECKS = {
    "Pruner": (QUICK, check_pruner), "Quota": (QUICK, check_quota), "Architecture": (QUICK, check_architecture),
    "Data set": (QUICK[1:], check_data), "Experiment": (QUICK, check_experiment), "Weight form": (QUICK, check_form),
    "Figure": (QUICK[:1], check_figure), "Operation of the graph": (QUICK, check_operation),
}  # fmt: skip
"""For each section, the words that make its commands short, and what they must have done."""


def test_every_section_is_tested():
    assert list(PAGE) == list(CHECKS)
    for section in PAGE.values():
        assert section.files and section.additions and section.commands


@pytest.mark.slow
@pytest.mark.parametrize("title", CHECKS)
def test_what_the_page_adds_works(title, tmp_path):
    section, (short, check) = PAGE[title], CHECKS[title]
    extend(section, tmp_path)
    if title == "Data set":
        prepare_data(tmp_path)
    check(section, execute(section, tmp_path, *short))


@pytest.mark.slow
def test_an_added_experiment_resumes_after_a_kill_and_can_be_removed(tmp_path):
    section = PAGE["Experiment"]
    extend(section, tmp_path)
    results, words = tmp_path / "results", shlex.split(section.commands[0])[2:]
    command = [sys.executable, "main.py", *words, *QUICK, "--iterations=600", f"--out_path={results}"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (done := list(results.rglob("run.json"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in done}
    assert 0 < len(before) < 5
    resumed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    rows = rows_of(results)
    assert len(rows) == 5 and set(rows["status"]) == {"complete"}
    assert all(path.stat().st_mtime_ns == moment for path, moment in before.items())
    # Without the experiment, its results are still read, and the others are still drawn.
    (tmp_path / "Experiments" / "quantised.py").unlink()
    shutil.copy(ROOT / "Experiments" / "registry.py", tmp_path / "Experiments")
    drawn = subprocess.run(
        [sys.executable, "visualization.py", f"--out_path={results}"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert drawn.returncode == 0 and "accuracies" in drawn.stdout, drawn.stderr
