"""The main command as its users type it: run it, read the CSV."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import settings
import torch
from commands import execute as call
from conftest import ROOT, rows_of, run_folder
from safetensors.torch import load_file

import Experiments.runs.singleshot as experiment
import main
from Layers import Masks, prunable
from Models import build
from Pruners.registry import QUOTAS
from Utils import randomness
from Utils.connectivity import effective_masks
from Utils.data import sources
from Utils.machine import pick_device
from Utils.results import load_summaries
from Utils.results.schema import SUMMARY_COLUMNS
from Utils.user_code import Stopped

pytestmark = pytest.mark.usefixtures("offline")
QUICK = ["--data=digits", "--iterations=40", "--evaluate_every=20"]


FEW = ["dense", "magnitude", "snip", "synflow", "random/igq", "random/snip"]
FURTHER = [*settings.CRITERIA, *(f"random/{quota}" for quota in QUOTAS if quota != "global"), "magnitude/synflow"]


@pytest.mark.parametrize(("architecture", "names"), [
    ("lenet300100", FEW), ("lenet5", [*FEW, *settings.CRITERIA, "random/uniform_plus", "magnitude/synflow"]),
    *(pytest.param(name, ["dense", *FURTHER], marks=pytest.mark.slow) for name in settings.NETWORKS),
])  # fmt: skip
def test_every_pruner_on_every_architecture(tmp_path, architecture, names):
    names = [name for name in dict.fromkeys(names) if settings.is_possible(name, architecture)]
    words = ["--pruner", *names, f"--architecture={architecture}", "--pruning_type=direct,effective"]
    assert call(tmp_path, *words, "--target_sparsity=0.95", *QUICK, "--iterations=2") == 0
    rows = rows_of(tmp_path)
    assert rows["pruner"].value_counts().to_dict() == {name: 1 if name == "dense" else 2 for name in names}
    for _, row in rows.iterrows():
        check_run(tmp_path, row, architecture)


def check_run(results: Path, row: pd.Series, architecture: str) -> None:
    """Counts, masks, tables and weights of a run agree with each other and with an independent count."""
    total = settings.PRUNABLE[architecture][0]
    wanted = total if row["pruner"] == "dense" else total - int(total * 0.95)
    assert (row["prunable"], row["target_kept"], row["status"]) == (total, wanted, "complete")
    model = build(architecture)
    masks = Masks.load(run_folder(results, row) / "masks.safetensors")
    effective = Masks(effective_masks(model, settings.NETWORKS[architecture], masks))
    assert row["kept_direct"] == masks.kept and row["kept_effective"] == effective.kept
    assert row[f"kept_{row['pruning_type']}"] >= wanted
    assert row["pruning_type"] == "effective" or row["kept_direct"] == wanted
    for kind in ("direct", "effective"):
        kept = row[f"kept_{kind}"]
        assert row[f"{kind}_sparsity"] == pytest.approx(1 - kept / total)
        assert row[f"{kind}_compression"] == pytest.approx(total / kept if kept else math.inf)
    layers = pd.read_csv(run_folder(results, row) / "layers.csv")
    assert list(layers["layer"]) == list(masks)
    assert layers["kept_effective"].tolist() == [int(mask.sum()) for mask in effective.values()]
    assert layers["kept_direct"].sum() == row["kept_direct"]
    assert row["empty_layers"] == (layers["kept_effective"] == 0).sum()
    assert row["collapsed"] == (row["kept_effective"] == 0)
    assert row["iterations"] == (0 if row["collapsed"] else 2)
    weights = load_file(run_folder(results, row) / "weights.safetensors")
    assert all(not weights[key][~mask].any() for key, mask in masks.items())


def test_files_of_a_run(tmp_path):
    assert call(tmp_path, *QUICK, "--pruner=snip", "--pruning_type=effective", "--target_sparsity=0.99") == 0
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    assert set(SUMMARY_COLUMNS) | {"chance", "parameters"} == set(row.index)
    training = pd.read_csv(run_folder(tmp_path, row) / "training.csv")
    assert list(training.columns) == [
        "iteration", "epoch", "lr", "train_loss", "train_top1", "val_loss", "val_top1", "test_loss", "top1", "top5",
        "seconds",
    ]  # fmt: skip
    assert list(training["iteration"]) == [0, 20, 40]
    assert row["top1"] == training["top1"].iloc[-1] and row["best_top1"] == training["top1"].max()
    assert row["kept_effective"] >= row["target_kept"] == 2662 and row["graph_kept_effective"] == row["kept_effective"]
    layers = pd.read_csv(run_folder(tmp_path, row) / "layers.csv")
    assert list(layers.columns) == [
        "layer", "shape", "size", "kept_direct", "kept_effective", "direct_sparsity", "effective_sparsity", "macs",
        "direct_macs", "effective_macs",
    ]  # fmt: skip
    assert list(layers["shape"]) == ["300x784", "100x300", "10x100"] and list(layers["macs"]) == [235200, 30000, 1000]
    record = json.loads((run_folder(tmp_path, row) / "run.json").read_text())
    assert record["settings"]["target_sparsity"] == "0.99" and record["machine"]["device"] == str(pick_device("auto"))


def test_multiply_adds_equal_torch_flop_counter(tmp_path):
    from torch.utils.flop_counter import FlopCounterMode

    assert call(tmp_path, *QUICK, "--architecture=lenet5", "--train=0") == 2  # QUICK sets --iterations
    assert call(tmp_path, "--data=digits", "--architecture=lenet5", "--train=0", "--target_sparsity=0.5") == 0
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    counter = FlopCounterMode(display=False)
    with counter:
        build("lenet5").eval()(torch.zeros(1, 3, 32, 32))
    assert 2 * row["macs"] == counter.get_total_flops()
    layers = pd.read_csv(run_folder(tmp_path, row) / "layers.csv").set_index("layer")
    assert layers.loc["conv1.weight", "direct_macs"] == layers.loc["conv1.weight", "kept_direct"] * 28 * 28
    assert row["direct_macs"] == layers["direct_macs"].sum()


def test_magnitude_scores_a_trained_network_and_rewinds(tmp_path, capsys):
    words = [*QUICK, "--pruner=magnitude", "--pruning_type=direct"]
    assert call(tmp_path, *words, "--target_sparsity=0.9") == 0
    assert "training lenet300100 digits dense sample 0 first" in capsys.readouterr().out
    rows = rows_of(tmp_path).set_index("pruner")
    dense = load_file(run_folder(tmp_path, rows.loc["dense"]) / "weights.safetensors")
    masks = Masks.load(run_folder(tmp_path, rows.loc["magnitude"]) / "masks.safetensors")
    magnitudes = torch.cat([dense[name].abs().flatten() for name in Masks.of(build("lenet300100"))])
    threshold = magnitudes.sort(descending=True).values[26_620 - 1]
    assert all(torch.equal(mask, dense[name].abs() >= threshold) for name, mask in masks.items())
    capsys.readouterr()
    assert call(tmp_path, *words, "--target_sparsity=0.99", "--pruner=magnitude/igq") == 0
    assert "first" not in capsys.readouterr().out, "the dense run is found in the results"


def test_magnitude_starts_from_the_initial_weights(tmp_path):
    assert call(tmp_path, "--data=digits", "--iterations=0", "--pruner=mag") == 0
    assert call(tmp_path, *QUICK[:1], "--iterations=30", "--pruner=magnitude", "--train=0") == 0
    initial = build("lenet300100", generator=randomness.generator(0, "initial weights"))
    rows = rows_of(tmp_path).set_index("pruner")
    for name in ("mag", "magnitude"):
        masks = Masks.load(run_folder(tmp_path, rows.loc[name]) / "masks.safetensors")
        weights = load_file(run_folder(tmp_path, rows.loc[name]) / "weights.safetensors")
        for key, (weight, _) in prunable(initial).items():
            assert torch.equal(weights[key][masks[key]], weight[masks[key]])
    assert Masks.load(run_folder(tmp_path, rows.loc["mag"]) / "masks.safetensors") != masks
    assert rows.loc["dense", "iterations"] == 30 and rows.loc["magnitude", "iterations"] == 0


def test_same_sample_same_numbers(tmp_path):
    words = [*QUICK, "--pruner=random/igq,snip,synflow", "--augmentation=rotation", "--target_sparsity=0.98"]
    for name in ("one", "two"):
        assert call(tmp_path / name, *words) == 0
    one, two = (
        load_summaries(tmp_path / name).drop(columns=["prune_seconds", "train_seconds"]) for name in ("one", "two")
    )
    pd.testing.assert_frame_equal(one, two)


def test_samples_differ_and_pruners_share_their_start(tmp_path):
    words = ["--data=digits", "--iterations=0", "--pruner=random,random/erk", "--sample=0,1", "--target_sparsity=0"]
    assert call(tmp_path, *words) == 0
    weights = {
        (row["pruner"], row["sample"]): load_file(run_folder(tmp_path, row) / "weights.safetensors")["fc1.weight"]
        for _, row in rows_of(tmp_path).iterrows()
    }
    assert torch.equal(weights["random", 0], weights["random/erk", 0])
    assert not torch.equal(weights["random", 0], weights["random", 1])


def test_complete_runs_are_skipped_and_overwrite_runs_again(tmp_path, capsys):
    assert call(tmp_path, *QUICK) == 0
    (record,) = tmp_path.rglob("run.json")
    before = record.stat().st_mtime_ns
    assert call(tmp_path, *QUICK) == 0
    assert "complete already" in capsys.readouterr().out and record.stat().st_mtime_ns == before
    assert call(tmp_path, *QUICK, "--overwrite") == 0
    assert record.stat().st_mtime_ns > before and len(list(tmp_path.rglob("run.json"))) == 1


def test_a_killed_campaign_goes_on(tmp_path, monkeypatch, capsys):
    words = [*QUICK, "--pruner=random,mag,snip", "--target_sparsity=0.9"]
    original, done = experiment.run, []

    def killed(settings, inputs, context):
        if len(done) == 1:
            raise Stopped
        done.append(settings)
        return original(settings, inputs, context)

    monkeypatch.setattr(experiment, "run", killed)
    assert call(tmp_path, *words) == 130
    assert "the same command resumes" in capsys.readouterr().err
    monkeypatch.setattr(experiment, "run", original)
    assert call(tmp_path, *words) == 0
    assert capsys.readouterr().out.count("complete already") == 1
    assert sorted(rows_of(tmp_path)["pruner"]) == ["mag", "random", "snip"]


def test_nothing_is_kept_without_save(tmp_path, capsys):
    assert call(tmp_path / "none", *QUICK, "--save=0", "--pruner=magnitude") == 0
    out = capsys.readouterr().out
    assert not (tmp_path / "none").exists() and "not kept" in out and "dense sample 0: top-1" in out


@pytest.mark.parametrize("words", [
    ["--prune_examples=65"], ["--validation=92"], ["--batchnorm=batch", "--batch_size=359"], ["--batch_size=2"],
    ["--lr_drops="], ["--optimizer=nesterov"], ["--prune_examples=2"],
])  # fmt: skip
def test_odd_sizes(tmp_path, words):
    assert call(tmp_path, "--data=digits", "--iterations=2", *words) == 0


def test_batch_statistics_and_validation(tmp_path):
    assert call(tmp_path, *QUICK, "--batchnorm=batch", "--validation=100") == 0
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    training = pd.read_csv(run_folder(tmp_path, row) / "training.csv")
    assert training["val_top1"].between(0, 1).all() and training["val_loss"].notna().all()
    assert "--batchnorm=batch" in row["settings"] and "--validation=100" in row["settings"]


def test_as_a_program(tmp_path):
    command = [sys.executable, str(ROOT / "main.py"), *QUICK, "--iterations=60", f"--out_path={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "top-1" in done.stdout
    done = subprocess.run([*command, "--pruner=snpi"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stdout == ""


def test_a_dry_run_says_what_would_run_and_runs_nothing(tmp_path, capsys, monkeypatch):
    words = ["--pruner=dense,snip,magnitude/erk", "--target_sparsity=0.5,0.9", *QUICK]
    assert call(tmp_path / "new", *words, "--dry_run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["run"] * 5 + ["0", "about"] and not (tmp_path / "new").exists()
    assert lines[-2] == "0 complete, 5 to do; nothing was run (--dry_run)"
    assert call(tmp_path, "--pruner=magnitude", "--sample=0,1", *QUICK, "--dry_run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["train", "train", "run", "run", "0", "about"]
    assert lines[-2].startswith("0 complete, 4 to do")
    assert call(tmp_path, "--pruner=snip", "--target_sparsity=0.5", *QUICK) == 0
    capsys.readouterr()
    assert call(tmp_path, *words, "--dry_run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[0] for line in lines) == ["1", "about", "complete", "run", "run", "run", "run"]
    (done,) = (line for line in lines if line.startswith("complete"))
    assert Path(done.split()[-1]).is_dir()


def test_a_dry_run_downloads_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sources, "_answers", lambda host: True)
    monkeypatch.setattr(sources, "fetch", None)
    monkeypatch.chdir(tmp_path)
    assert call(tmp_path, "--dry_run") == 0
    printed = capsys.readouterr()
    assert "mnist is not in Data/ and would be downloaded" in printed.err and " mnist snip " in printed.out
    assert list(tmp_path.iterdir()) == []


def test_the_size_report_is_printed(tmp_path, capsys):
    assert call(tmp_path, *QUICK, "--pruner=random", "--target_sparsity=0.5") == 0
    report = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  multiply-adds")]
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    assert report[0][1:3] == ["266,200", f"{row['direct_macs']:,}"]
    assert row["parameters"] == sum(p.numel() for p in build("lenet300100").parameters())


@pytest.mark.parametrize(("pruner", "jumps"), [("snip", False), ("random", True)])
def test_a_target_that_falls_into_a_jump_is_told_of(tmp_path, capsys, pruner, jumps):
    words = ["--data=digits", "--train=0", f"--pruner={pruner}", "--pruning_type=effective", "--com_exp=3.9"]
    assert main.main([*words, f"--out_path={tmp_path}"]) == 0
    (row,) = (row for _, row in load_summaries(tmp_path).iterrows())
    assert (row["kept_effective"] > 1.05 * row["target_kept"]) == jumps
    assert ("the nearest that is reachable: one weight less leaves too few" in capsys.readouterr().out) == jumps
