"""`--status` and `--dry_run`: what is finished, and what the rest takes."""

import pytest
from commands import QUICK, call, runs

import main
from Experiments.planning import estimate
from Experiments.planning.status import dry_run
from Utils.campaign import announcements
from Utils.campaign.plan import Plan, PlannedRun
from Utils.campaign.run_state import RunStates
from Utils.results.artifacts import Need
from Utils.results.digests import read_record, sealed
from Utils.results.outcome import Outcome
from Utils.results.store import Store


def test_the_status_is_a_table(tmp_path, capsys, monkeypatch):
    words = ["--target_sparsity=0.5,0.9"]
    assert call(tmp_path, *words, "--pruner=random") == 0
    store = Store(tmp_path)
    (settings,) = runs(*QUICK, "--pruner=mag", "--target_sparsity=0.5", f"--out_path={tmp_path}")
    store.write(settings, settings, Outcome.failed("it broke"), 0.0)
    capsys.readouterr()
    assert call(tmp_path, *words, "--pruner=random,mag,dense", "--status") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["architecture", "data", "pruner", "type", "done", "running", "failed", "missing", "all"]
    assert ["lenet300100", "digits", "random", "direct", "2", "2"] in lines
    assert ["lenet300100", "digits", "mag", "direct", "1", "1", "2"] in lines
    assert ["all", "2", "0", "1", "2", "5"] in lines and lines[-1][:2] == ["failed:", "lenet300100"]
    # What is trained for others to score counts as well.
    assert call(tmp_path, *words, "--pruner=random,magnitude", "--status") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["lenet300100", "digits", "dense", "direct", "1", "1"] in lines
    assert ["all", "2", "0", "0", "3", "5"] in lines
    assert call(tmp_path / "nowhere", "--pruner=random", "--status") == 0
    assert capsys.readouterr().out.endswith(f"there is no folder {tmp_path}/nowhere yet (--out_path)\n")


def test_a_dry_run_estimates_time_and_disk(tmp_path, capsys):
    assert call(tmp_path, "--pruner=random", "--dry_run") == 0
    printed = capsys.readouterr()
    assert printed.out.endswith("MB on disk, from 3 steps timed here (pruning not counted)\n") and not printed.err
    assert call(tmp_path, "--pruner=random,mag") == 0
    capsys.readouterr()
    words = ["--pruner=random,mag,snip", "--sample", *map(str, range(20)), "--iterations=20", "--dry_run"]
    assert call(tmp_path, *words, "--target_sparsity=0.9,0.5") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["architecture", "data", "pruner", "type", "networks", "to", "do"]
    assert lines[1].split()[-2:] == ["40", "39"] and lines[4] == "2 complete, 118 to do; nothing was run (--dry_run)"
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.*") if path.is_file()) / 2 * 118 / 1e6
    words = lines[5].split()
    assert lines[5].endswith("on disk, from 2 finished networks")
    assert float(words[words.index("MB") - 1]) == pytest.approx(size, rel=0.1)
    # Steps of other batches say nothing.
    assert call(tmp_path, "--pruner=snip", "--batch_size=32", "--dry_run") == 0
    assert "from 3 steps timed here" in capsys.readouterr().out
    assert call(tmp_path, "--pruner=snip", "--batch_size=32") == 0
    assert call(tmp_path, "--pruner=mag", "--batch_size=32", "--dry_run") == 0
    assert "from 1 finished network\n" in capsys.readouterr().out


def test_the_estimate_reads_records_not_sentences(tmp_path, capsys):
    """Whatever the row says: the record has the batch size of a run."""
    assert call(tmp_path, "--pruner=random") == 0
    (path,) = tmp_path.rglob("run.json")
    record = read_record(path.parent)
    assert record.files is not None
    path.write_bytes(
        sealed({**record.values, "settings": {**record.values["settings"], "batch_size": 32}}, record.files)
    )
    capsys.readouterr()
    assert call(tmp_path, "--pruner=mag", "--batch_size=32", "--dry_run") == 0
    assert "from 1 finished network\n" in capsys.readouterr().out
    assert call(tmp_path, "--pruner=mag", "--dry_run") == 0
    assert "from 3 steps timed here" in capsys.readouterr().out


def test_the_estimate_without_training(tmp_path, capsys):
    words = ["--data=digits", "--train=0", f"--out_path={tmp_path}"]
    assert main.main([*words, "--pruner=random", "--dry_run"]) == 0
    printed = capsys.readouterr()
    assert "from test batches timed here (pruning not counted)" in printed.out and not printed.err
    assert main.main([*words, "--pruner=random,mag"]) == 0
    assert main.main([*words, "--pruner=snip", "--dry_run"]) == 0
    assert "from 2 finished networks" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, '{"status": "complete"}'])
def test_the_estimate_while_a_network_is_written_again(tmp_path, capsys, monkeypatch, content):
    assert call(tmp_path, "--pruner=random") == 0
    (record,) = tmp_path.rglob("run.json")
    read = estimate.read_summaries

    def read_before(path):
        rows = read(path)
        record.unlink() if content is None else record.write_text(content)
        return rows

    monkeypatch.setattr(estimate, "read_summaries", read_before)
    assert call(tmp_path, "--pruner=mag", "--dry_run") == 0
    assert "from 3 steps timed here" in capsys.readouterr().out


@pytest.mark.parametrize(("kinds", "reason", "mark"), [
    (["weights"], "whose weights others score", "(scored by other runs)"),
    (["tables"], "which others need", "(needed by other runs)"),
    (["weights", "tables"], "which others need", "(needed by other runs)"),
])  # fmt: skip
def test_what_a_run_is_needed_for_is_said(tmp_path, kinds, reason, mark):
    dense, pruned = runs(*QUICK, "--pruner=dense,mag", f"--out_path={tmp_path}")
    first = PlannedRun(dense, "", dense)
    needing = PlannedRun(pruned, "", pruned, tuple(Need(kind, dense, kind) for kind in kinds))
    plan = Plan((needing,), (first,))
    assert announcements.before(RunStates(plan, Store(tmp_path))) == [f"training {dense.title()} first, {reason}"]
    assert dry_run(plan, Store(tmp_path)).splitlines()[0].endswith(mark)
