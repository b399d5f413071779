"""Thousands of networks in one command: lists, files of flags, workers, failures, interruptions, what is left to do."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from functools import partial
from pathlib import Path

import faults
import pandas as pd
import pytest

import Experiments.singleshot as experiment
import main
from Experiments.planning import estimate
from Utils.campaign.locks import RunLocks
from Utils.errors import UserError
from Utils.machine import cores
from Utils.results import atomic_files, load_summaries, store
from Utils.results.outcome import Outcome
from Utils.results.store import Store

ROOT = Path(__file__).parents[1]
QUICK = ["--data=digits", "--iterations=20", "--evaluate_every=10"]
SECONDS = ["prune_seconds", "train_seconds"]


def call(tmp_path: Path, *words: str) -> int:
    return main.main([*QUICK, *words, f"--out_path={tmp_path}"])


@pytest.fixture
def program(tmp_path):
    """Starts the program; what still runs at the end of a test is killed."""
    started: list[subprocess.Popen] = []
    yield partial(start, started)
    for process in started:
        if process.poll() is None:
            process.kill()


def start(started: list[subprocess.Popen], tmp_path: Path, *words: str, **options) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "main.py"), *QUICK, *words, f"--out_path={tmp_path}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | options
    # Whoever started the tests in the background may have them, and what they start, ignore Ctrl-C.
    started.append(subprocess.Popen(command, preexec_fn=listen_to_ctrl_c, **pipes))
    return started[-1]


def listen_to_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def rows_of(tmp_path: Path) -> pd.DataFrame:
    return load_summaries(tmp_path, status=None).drop(columns=SECONDS).sort_values("run").reset_index(drop=True)


def test_killed_workers_and_launchers_leave_every_network_once_and_the_same(tmp_path):
    import random

    calm, troubled = tmp_path / "calm", tmp_path / "troubled"
    assert faults.start(calm, 40, "--workers=2").wait() == 0
    killed, _ = faults.disturbed(troubled, 40, 5, random.Random(0), ["--workers=2"])
    assert killed == 5
    assert faults.check_same(calm, troubled) == 41


def test_workers_make_the_same_networks_as_this_process(tmp_path, capsys):
    words = ["--pruner=dense,random,snip,magnitude", "--target_sparsity=0.5,0.9", "--sample=0,1"]
    assert call(tmp_path / "one", *words) == 0
    assert call(tmp_path / "two", *words, "--workers=2", "--threads=1") == 0
    pd.testing.assert_frame_equal(rows_of(tmp_path / "one"), rows_of(tmp_path / "two"))
    assert len(rows_of(tmp_path / "one")) == 14
    out = capsys.readouterr().out
    assert "[14/14] " in out and out.count("top-1") == 28


def test_threads_are_fixed_and_recorded(tmp_path):
    assert call(tmp_path, "--pruner=random,mag", "--workers=2") == 0
    assert call(tmp_path, "--pruner=random", "--sample=1", "--threads=2") == 0
    found = {
        (record["settings"]["sample"], record["settings"]["threads"], record["machine"]["threads"])
        for record in (json.loads(path.read_text()) for path in tmp_path.rglob("run.json"))
    }
    assert found == {(0, 1, 1), (1, 2, 2)}


def test_more_threads_than_there_are_are_warned_about(tmp_path, capsys):
    assert call(tmp_path, "--pruner=random,mag", "--workers=2", f"--threads={cores()}") == 0
    assert f"2 workers of {cores()} threads each will wait for each other on {cores()}" in capsys.readouterr().err


def test_dense_networks_that_others_need_are_made_once_and_first(tmp_path, capsys):
    assert call(tmp_path, "--pruner=snip,magnitude,lamp,dense", "--target_sparsity=0.5,0.9", "--sample=0,1") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert [" dense " in line for line in lines] == [True] * 2 + [False] * 12
    assert (load_summaries(tmp_path)["pruner"] == "dense").sum() == 2


@pytest.mark.parametrize(("pruner", "times"), [("snip", 2), ("synflow", 4)])
def test_equal_scores_are_computed_once(tmp_path, monkeypatch, pruner, times):
    """One-shot criteria once for all levels and both types, iterative ones once for each level."""
    from Experiments.common import masks_for_run

    scored = []
    original = masks_for_run.score
    monkeypatch.setattr(masks_for_run, "score", lambda *rest: (scored.append(1), original(*rest))[1])
    words = [f"--pruner={pruner}", "--target_sparsity=0.5,0.9", "--pruning_type=direct,effective", "--sample=7,8"]
    assert call(tmp_path, *words) == 0
    assert len(scored) == times


def test_two_commands_side_by_side_share_the_work(tmp_path, program):
    words = ["--pruner=random,snip,mag,magnitude", "--target_sparsity=0.5,0.8,0.9", "--iterations=200"]
    one, two = program(tmp_path, *words), program(tmp_path, *words)
    out = [process.communicate(timeout=300)[0] for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0)
    made = [text.count(": top-1 ") for text in out]
    assert sum(made) == 13 and min(made) > 0, out
    assert len(rows_of(tmp_path)) == 13


def test_a_network_that_another_command_makes_is_waited_for_and_taken_over(tmp_path, capsys):
    holds = "import sys, time; from pathlib import Path; from Utils.campaign.locks import RunLocks\n"
    holds += "locks = RunLocks(Path(sys.argv[1])); print(locks.acquire(sys.argv[2]), flush=True); time.sleep(3)"
    assert call(tmp_path, "--pruner=random", "--dry_run") == 0
    name = capsys.readouterr().out.splitlines()[0].rpartition("_")[2]
    holder = subprocess.Popen([sys.executable, "-c", holds, str(tmp_path), name], stdout=subprocess.PIPE, cwd=ROOT)
    assert holder.stdout is not None and holder.stdout.readline() == b"True\n"
    assert call(tmp_path, "--pruner=random", "--status") == 0
    assert f"(process {holder.pid} on " in capsys.readouterr().out
    assert call(tmp_path, "--pruner=random,mag") == 0
    out = capsys.readouterr().out
    assert "another command is running the last 1 networks" in out and holder.wait() == 0
    assert len(rows_of(tmp_path)) == 2


def test_failures_are_rows_and_made_again_only_if_asked(tmp_path, monkeypatch, capsys):
    original = experiment.run

    def fails(settings, trained=None):
        if settings.pruning.pruner == "mag":
            raise MemoryError("no room")
        return original(settings, trained)

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "run", fails)
        assert call(tmp_path, "--pruner=mag,random") == 1
    out = capsys.readouterr().out
    assert "1 of 2 networks failed; --retry_failed runs them again:" in out and "MemoryError: no room" in out
    (record,) = tmp_path.rglob("mag/direct/*/run.json")
    assert "in fails" in json.loads(record.read_text())["trace"]
    assert call(tmp_path, "--pruner=mag,random") == 1
    assert "failed before, MemoryError: no room (--retry_failed runs it again)" in capsys.readouterr().out
    assert call(tmp_path, "--pruner=mag") == 1
    assert call(tmp_path, "--pruner=mag,random", "--retry_failed") == 0
    assert "complete already" in capsys.readouterr().out and set(rows_of(tmp_path)["status"]) == {"complete"}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_needs_a_failed_network_fails_with_its_reason(tmp_path, workers, capsys):
    words = ["--pruner=magnitude,random", "--lr=1e35", "--optimizer=sgd", "--iterations=60", f"--workers={workers}"]
    assert call(tmp_path, *words) == 1
    errors = rows_of(tmp_path).set_index("pruner")["error"]
    assert errors["dense"].startswith("training diverged")
    assert errors["magnitude"].startswith("it needs lenet300100 digits dense sample 0, which failed: training diverged")
    # The rows do not tell whether the campaign was interrupted between the two.
    capsys.readouterr()
    assert call(tmp_path, *words, "--pruner=lamp") == 1
    out = capsys.readouterr().out
    assert "dense sample 0, whose weights others score: failed before, training diverged" in out
    assert rows_of(tmp_path).set_index("pruner").loc["lamp", "error"] == errors["magnitude"]
    assert call(tmp_path / "alone", *words, "--pruner=magnitude") == 1
    assert rows_of(tmp_path / "alone").set_index("pruner")["error"].to_dict() == errors.to_dict()


def test_a_network_that_kills_its_process_fails_in_the_end(tmp_path, program):
    (tmp_path / "deadly.py").write_text(
        "import os, signal\nfrom torch import nn\n"
        "class Deadly(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n        self.fc = nn.Linear(784, classes)\n"
        "    def forward(self, x):\n"
        "        if self.training:\n            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return self.fc(x.flatten(1))\n"
        "def deadly(input_shape=(1, 28, 28), classes=10):\n    return Deadly(classes)\n"
    )
    words = [f"--architecture={tmp_path}/deadly.py:deadly,lenet300100", "--pruner=mag", "--workers=2"]
    done = program(tmp_path / "out", *words)
    out = done.communicate(timeout=300)[0]
    assert done.returncode == 1, out
    rows = rows_of(tmp_path / "out").set_index("status")
    assert rows.loc["failed", "error"] == "its process was killed (SIGKILL; out of memory?), 5 times"
    assert rows.loc["complete", "architecture"] == "lenet300100"


def test_ctrl_c_once_finishes_what_is_running(tmp_path, program):
    words = ["--pruner=random,mag,snip", "--target_sparsity=0.5,0.7,0.9", "--iterations=1500", "--workers=2"]
    process = program(tmp_path, *words, "--threads=1")
    assert process.stdout is not None
    while "[1/9]" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out = process.communicate(timeout=120)[0]
    assert process.returncode == 130 and "what is running now is finished and kept" in out
    assert (
        out.rstrip().endswith("complete runs are kept, the same command goes on from there") and "Traceback" not in out
    )
    count = len(rows_of(tmp_path))
    assert 2 <= count < 9 and out.count(": top-1 ") == count - 1
    assert not RunLocks(tmp_path).owners()


@pytest.mark.parametrize("workers", ["--workers=1", "--workers=2"])
def test_ctrl_c_twice_stops_now(tmp_path, workers, program):
    process = program(tmp_path, "--pruner=random,mag", "--iterations=1000000", workers, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".locks/*.owner")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "Traceback" not in out and "goes on from there" in out
    assert not list(tmp_path.rglob("run.json")) and not RunLocks(tmp_path).owners()


@pytest.mark.parametrize("workers", ["--workers=1", "--workers=2"])
def test_a_disk_that_fills_up_stops_the_campaign_and_leaves_a_store_that_opens_again(
    tmp_path, monkeypatch, capsys, workers
):
    write, written = atomic_files.write_file, []

    def fills_up(path, content):
        written.append(path)
        if len(written) > 11:
            raise OSError(28, "No space left on device")
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_file", fills_up)
        assert call(tmp_path, "--pruner=random,mag,snip", workers) == 2
    error = capsys.readouterr().err
    assert "No space left on device; make room, and run the same command again" in error and "Traceback" not in error
    assert len(rows_of(tmp_path)) == 1 and not RunLocks(tmp_path).owners()
    assert call(tmp_path, "--pruner=random,mag,snip", workers) == 0
    assert len(rows_of(tmp_path)) == 3


def test_a_store_that_a_killed_writer_left_is_tidied(tmp_path):
    assert call(tmp_path, "--pruner=random") == 0
    (folder,) = (path.parent for path in tmp_path.rglob("run.json"))
    (folder / "run.json").unlink()
    (folder / ".summary.csv-abc.partial").write_text("half")
    assert call(tmp_path, "--pruner=random") == 0
    assert not list(folder.glob(".*")) and len(rows_of(tmp_path)) == 1


@pytest.mark.parametrize("damage", [b"", None])
def test_a_run_without_its_row_is_made_again(tmp_path, capsys, damage):
    assert call(tmp_path, "--pruner=random") == 0
    (path,) = tmp_path.rglob("summary.csv")
    path.unlink() if damage is None else path.write_bytes(damage)
    capsys.readouterr()
    assert call(tmp_path, "--pruner=random", "--status") == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["all", "0", "0", "0", "1", "1"]
    assert call(tmp_path, "--pruner=random") == 0 and len(load_summaries(tmp_path)) == 1


def test_dense_weights_that_are_damaged_are_trained_again(tmp_path):
    assert call(tmp_path, "--pruner=magnitude") == 0
    (weights,) = tmp_path.rglob("dense/*/*/weights.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert call(tmp_path, "--pruner=lamp") == 0
    assert weights.read_bytes() == whole and len(load_summaries(tmp_path)) == 3


def test_a_complete_campaign_needs_no_room(tmp_path, monkeypatch, capsys):
    def read_only(self):
        raise UserError("cannot write")

    assert call(tmp_path, "--pruner=random") == 0
    monkeypatch.setattr(Store, "check_writable", read_only)
    assert call(tmp_path, "--pruner=random") == 0 and "complete already" in capsys.readouterr().out
    assert call(tmp_path, "--pruner=mag") == 2


def test_a_checkpoint_that_cannot_be_removed_is_told_of(tmp_path, capsys):
    settings = planned(tmp_path, "--pruner=random")
    (Store(tmp_path).folder(settings) / "checkpoint-0.pt").mkdir(parents=True)
    assert call(tmp_path, "--pruner=random", "--overwrite") == 2
    assert "cannot write to" in (error := capsys.readouterr().err) and error.count("\n") == 1


def test_a_file_of_flags(tmp_path, capsys):
    config = tmp_path / "campaign.yml"
    config.write_text("pruner: [random, mag]\ntarget_sparsity: [0.50, 0.9]\niterations: 20\nsave: yes\nlr_drops: []\n")
    assert main.main([f"--config={config}", *QUICK[:1], f"--out_path={tmp_path}/out"]) == 0
    rows = load_summaries(tmp_path / "out")
    assert sorted(zip(rows["pruner"], rows["target_sparsity"], strict=True)) == [
        ("mag", 0.5), ("mag", 0.9), ("random", 0.5), ("random", 0.9),
    ]  # fmt: skip
    words = [f"--config={config}", "--data=digits", f"--out_path={tmp_path}/out", "--dry_run"]
    capsys.readouterr()
    assert main.main([*words, "--pruner=snip", "--com_exp=1"]) == 0
    out = capsys.readouterr().out
    assert "snip direct 10^1x" in out and "random" not in out and "1 to do" in out
    assert main.main([*words, "--epochs=1"]) == 0
    assert "4 to do" in capsys.readouterr().out


@pytest.mark.parametrize(("content", "message"), [
    ("pruner: [snip, snpi]", "--config={}: unknown pruner 'snpi'; did you mean 'snip'?"),
    ("prunner: snip", "--config={}: unknown flag --prunner; did you mean --pruner?"),
    ("- snip", "--config={} must hold lines of the form 'flag: value'"),
    ("pruner: {snip: 1}", "--config={}: pruner must be a value or a list of values"),
    ("pruner: [snip", "--config={} is no YAML"),
    ("pruner: snip\npruner: random", "--config={} is no YAML: pruner is there twice"),
    ("target-sparsity: 0.9\ntarget_sparsity: 0.8", "--config={} is no YAML: target_sparsity is there twice"),
    ("no_train:", "--config={}: --no-train: ignored explicit argument ''; write --train=0"),
    ("config: other.yml", "--config={} cannot name another file"),
    (None, "--config={} cannot be read: No such file or directory"),
])  # fmt: skip
def test_mistakes_in_a_file_of_flags(tmp_path, capsys, content, message):
    config = tmp_path / "campaign.yml"
    if content is not None:
        config.write_text(content)
    assert main.main([f"--config={config}"]) == 2
    error = capsys.readouterr().err
    assert message.format(config) in error and error.count("\n") == 1


@pytest.mark.parametrize(("words", "message"), [
    (["--ray_address=auto"], "--ray_address has no effect without --launcher=ray"),
    (["--gpus=0.5"], "--gpus has no effect without --launcher=ray"),
    (["--workers=0"], "--workers must be at least 1, not 0"),
    (["--dry_run", "--status"], "--dry_run and --status are different questions"),
    (["--launcher=slurm"], "unknown value of --launcher 'slurm'"),
    (["--checkpoint_every=-1"], "--checkpoint_every must be at least 0"),
])  # fmt: skip
def test_mistakes(tmp_path, capsys, words, message):
    assert call(tmp_path, *words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.rglob("run.json"))


def test_ray_that_is_missing_is_an_error_that_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert call(tmp_path, "--launcher=ray") == 2
    assert capsys.readouterr().err == "main.py: --launcher=ray needs the package ray: pip install ray\n"


def test_the_status_is_a_table(tmp_path, capsys, monkeypatch):
    words = ["--target_sparsity=0.5,0.9"]
    assert call(tmp_path, *words, "--pruner=random") == 0
    store = Store(tmp_path)
    settings = planned(tmp_path, "--pruner=mag", "--target_sparsity=0.5")
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


def planned(tmp_path: Path, *words: str):
    from Experiments.planning.resolve import resolve_all
    from Utils.config.command import Command
    from Utils.config.settings import Settings

    _, request = main.read([*QUICK, *words, f"--out_path={tmp_path}"]).split(Command)
    (settings,) = resolve_all(Settings().with_values(**request.single()), request, {"lenet300100": "digits"})
    return settings


def test_a_dry_run_estimates_time_and_disk(tmp_path, capsys):
    assert call(tmp_path, "--pruner=random", "--dry_run") == 0
    printed = capsys.readouterr()
    assert printed.out.endswith("MB on disk, from 3 steps made here (pruning not counted)\n") and not printed.err
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
    assert "from 3 steps made here" in capsys.readouterr().out
    assert call(tmp_path, "--pruner=snip", "--batch_size=32") == 0
    assert call(tmp_path, "--pruner=mag", "--batch_size=32", "--dry_run") == 0
    assert "from 1 finished network\n" in capsys.readouterr().out


def test_the_estimate_without_training(tmp_path, capsys):
    words = ["--data=digits", "--train=0", f"--out_path={tmp_path}"]
    assert main.main([*words, "--pruner=random", "--dry_run"]) == 0
    printed = capsys.readouterr()
    assert "from batches tested here (pruning not counted)" in printed.out and not printed.err
    assert main.main([*words, "--pruner=random,mag"]) == 0
    assert main.main([*words, "--pruner=snip", "--dry_run"]) == 0
    assert "from 2 finished networks" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, '{"status": "complete"}'])
def test_the_estimate_while_a_network_is_written_again(tmp_path, capsys, monkeypatch, content):
    assert call(tmp_path, "--pruner=random") == 0
    (record,) = tmp_path.rglob("run.json")
    find = estimate.find_run

    def found(path, name):
        folders = find(path, name)
        record.unlink() if content is None else record.write_text(content)
        return folders

    monkeypatch.setattr(estimate, "find_run", found)
    assert call(tmp_path, "--pruner=mag", "--dry_run") == 0
    assert "from 3 steps made here" in capsys.readouterr().out


def test_every_evaluation_is_written_for_tensorboard(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert call(tmp_path / "out", "--pruner=random,mag", "--workers=2", f"--tensorboard={tmp_path}/board") == 0
    folders = sorted((tmp_path / "board").iterdir())
    assert len(folders) == 2 and "mag_direct_0.9_sample_0" in folders[0].name
    events = reader.EventAccumulator(str(folders[0]))
    events.Reload()
    (path,) = (tmp_path / "out").rglob("mag/direct/*/training.csv")
    training = pd.read_csv(path)
    assert [event.step for event in events.Scalars("top1")] == list(training["iteration"])
    assert [event.value for event in events.Scalars("top1")] == pytest.approx(list(training["top1"]))


def test_tensorboard_that_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert call(tmp_path, f"--tensorboard={tmp_path}/board") == 2
    assert "--tensorboard needs the package tensorboard" in capsys.readouterr().err


def test_on_a_terminal_there_is_a_bar_for_all_and_a_line_for_each_network(tmp_path, program):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    words = ["--pruner=random,mag,snip,dense", "--workers=2", "--iterations=300", "--threads=1"]
    process = program(tmp_path, *words, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while part := os.read(ours, 65536):
            seen += part
    assert process.wait() == 0
    text = seen.decode()
    assert ("campaign: 100%" in text and "4/4" in text and "network/s" in text) or "s/network" in text
    assert "snip direct 0.9 sample 0:" in text and "loss " in text and "top-1 " in text and "/300" in text


def test_an_error_of_the_store_is_not_a_failure_of_a_network(tmp_path, monkeypatch, capsys):
    def fails(self, *rest):
        raise UserError("cannot write to it")

    monkeypatch.setattr(Store, "write", fails)
    assert call(tmp_path, "--pruner=random,mag") == 2
    assert capsys.readouterr().err == "main.py: cannot write to it\n" and not RunLocks(tmp_path).owners()
