"""Damaged runs of a campaign, as users meet them: named, left out of figures, made again, and no source."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import QUICK, call, execute, runs
from safetensors.torch import save

import visualization
from Utils.results import load_summaries


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.rglob(pattern)
    return path


@pytest.fixture(scope="module")
def campaign(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("campaign") / "Results"
    assert call(folder, "--pruner=random,magnitude", "--target_sparsity=0.5,0.9") == 0
    return folder


@pytest.fixture
def copy(campaign, tmp_path) -> Path:
    return Path(shutil.copytree(campaign, tmp_path / "Results"))


def test_a_changed_number_is_left_out_of_figures_and_made_again(copy, capsys):
    (path, *_) = sorted(copy.rglob("random/*/*/summary.csv"))
    before = load_summaries(copy).sort_values("run")
    table = pd.read_csv(path, dtype=str)
    best = table["best_top1"][0]
    path.write_text(path.read_text().replace(f",{best},", f",{float(best) + 0.1:.4f},"))
    capsys.readouterr()
    assert visualization.main([f"--out_path={copy}", "--plot_type=accuracies"]) == 2
    error = capsys.readouterr().err
    assert f"{path} is damaged: it has changed since the run was stored" in error and "Traceback" not in error
    assert call(copy, "--pruner=random,magnitude", "--target_sparsity=0.5,0.9") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path} is damaged: it has changed since the run was stored; the run is executed again"
    again = load_summaries(copy).sort_values("run")
    assert np.allclose(again["best_top1"], before["best_top1"], atol=0) and len(again) == len(before) == 5


@pytest.mark.parametrize("pruner", ["magnitude", "lamp"])
def test_an_empty_file_of_dense_weights_is_no_source(copy, pruner, capsys):
    weights = only(copy, "dense/*/*/weights.safetensors")
    whole = weights.read_bytes()
    for old in (False, True):
        weights.write_bytes(save({}))
        if old:  # of earlier versions
            path = weights.with_name("run.json")
            record = json.loads(path.read_bytes())
            path.write_text(json.dumps({name: record[name] for name in record if name not in ("files", "digest")}))
        shutil.rmtree(copy / "singleshot/lenet300100/digits" / pruner, ignore_errors=True)
        assert call(copy, f"--pruner={pruner}") == 0
        assert weights.read_bytes() == whole
    printed = capsys.readouterr().out
    assert "its trained weights were deleted or damaged meanwhile; it is executed again" in printed


@pytest.mark.parametrize("flag", ["weights_from", "masks_from"])
@pytest.mark.parametrize("form", ["key", "folder", "file"])
def test_a_damaged_run_is_no_source_of_weights_or_masks(copy, flag, form, capsys):
    path = sorted(copy.rglob(f"random/*/*/{flag.removesuffix('_from')}.safetensors"))[0]
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    place = {"key": path.parent.name.rpartition("_")[2], "folder": path.parent, "file": path}[form]
    capsys.readouterr()
    assert call(copy, "--pruner=mag", f"--{flag}={place}") == 2
    error = capsys.readouterr().err
    assert error == f"main.py: {path} is damaged: it has changed since the run was stored\n"


def test_a_table_cut_short_is_left_out(copy, capsys):
    path = sorted(copy.rglob("random/*/*/layers.csv"))[0]
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert visualization.main([f"--out_path={copy}", "--plot_type=layers"]) == 2
    assert str(path) in capsys.readouterr().err
    with pytest.warns(UserWarning, match=r"layers\.csv is damaged"):
        assert len(load_summaries(copy)) == 4


def test_reports_name_no_damaged_run_as_done(copy, capsys):
    sorted(copy.rglob("random/*/*/masks.safetensors"))[0].write_bytes(b"")
    words = [*QUICK, "--pruner=random,magnitude", "--target_sparsity=0.5,0.9"]
    assert execute(copy, *words, "--dry_run") == 0
    assert "1 to do" in capsys.readouterr().out
    assert len(runs(*words)) == 4


def test_deleted_weights_are_no_damage_until_they_are_needed(copy, capsys):
    for path in copy.rglob("*.safetensors"):
        path.unlink()
    assert call(copy, "--pruner=random,magnitude", "--target_sparsity=0.5,0.9") == 0
    assert capsys.readouterr().out.count("complete already") == 4
    assert call(copy, "--pruner=magnitude", "--target_sparsity=0.95") == 0
    assert only(copy, "dense/*/*/weights.safetensors").is_file() and len(load_summaries(copy)) == 6
