"""Digests for the runs of earlier versions: added once, to whole runs only, and nothing else changes."""

import json
import warnings
from pathlib import Path

import pytest
from commands import call
from safetensors.torch import save

import visualization
from Utils.results import load_summaries
from Utils.results.add_digests import main
from Utils.results.digests import check_files, read_record


def make_old(results: Path) -> dict[Path, bytes]:
    """Take the digests from all runs; returns the content of every file."""
    for path in results.rglob("run.json"):
        record = json.loads(path.read_bytes())
        kept = {name: record[name] for name in record if name not in ("files", "digest")}
        path.write_text(json.dumps(kept, indent=1))
    return {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}


@pytest.fixture
def old(tmp_path) -> Path:
    results = tmp_path / "Results"
    assert call(results, "--pruner=magnitude,random") == 0
    make_old(results)
    return results


def test_digests_are_added_and_notice_damage_from_then_on(old, capsys):
    before = make_old(old)
    assert visualization.main([f"--out_path={old}", "--plot_type=layers"]) == 0
    note = f"{old} holds 3 runs without digests, whose damage goes unnoticed; "
    note += f"python -m Utils.results.add_digests {old} adds them"
    assert capsys.readouterr().err.count(note) == 1
    assert main([str(old)]) == 0 and capsys.readouterr().out == f"{old}: 3 runs have got digests\n"
    for path, content in before.items():
        if path.name == "run.json":
            record = json.loads(path.read_bytes())
            assert record.items() >= json.loads(content).items() and len(record["files"]) >= 5
            check_files(path.parent, read_record(path.parent))
        else:
            assert path.read_bytes() == content
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_summaries(old)) == 3
    after = {path: path.read_bytes() for path in before}
    assert main([str(old)]) == 0 and capsys.readouterr().out == f"{old}: 0 runs have got digests\n"
    assert {path: path.read_bytes() for path in before} == after
    (path, *_) = old.rglob("random/*/*/layers.csv")
    path.write_text(path.read_text().replace("1", "2"))
    with pytest.warns(UserWarning, match=r"layers\.csv is damaged"):
        assert len(load_summaries(old)) == 2


@pytest.mark.parametrize("name", ["weights.safetensors", "masks.safetensors", "summary.csv", "layers.csv", "run.json"])
def test_a_damaged_run_gets_no_digests(old, name, capsys):
    (path, *_) = old.rglob(f"random/*/*/{name}")
    path.write_bytes(save({}) if name == "weights.safetensors" else b'\x00,\n"')
    assert main([str(old)]) == 2
    printed = capsys.readouterr()
    assert printed.out == f"{old}: 2 runs have got digests\n" and str(path) in printed.err
    assert printed.err.count("\n") == 1 and "Traceback" not in printed.err
    assert "digest" not in (path.parent / "run.json").read_text(errors="replace")


def test_a_folder_that_is_none(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'nowhere'} is no folder\n"
