"""Does a campaign survive everything?

    python -m tests.faults --networks=200 --kills=30
    python -m tests.faults --networks=40 --kills=5 --launcher=ray

Runs a campaign of tiny networks undisturbed; then again, while processes are killed with SIGKILL at random moments: its
workers and, now and then, a launcher. For part of the time two launchers are at it. At the end both folders must hold
the same: every network once, complete, with the same rows (seconds aside), masks and weights.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from Utils.results import load_summaries

ROOT = Path(__file__).parents[1]
PRUNERS = ("random", "snip", "magnitude", "random/erk", "mag")
LEVELS = ("0.5", "0.8", "0.9", "0.95")
QUICK = ("--data=digits", "--iterations=120", "--evaluate_every=40", "--checkpoint_every=15", "--lr_drops=80")
PATIENCE = 300
"""Seconds within which something must end: Ray's workers run behind everything else on a machine."""
SECONDS = ["prune_seconds", "train_seconds"]


def command(folder: Path, networks: int, *more: str) -> list[str]:
    """A campaign of so many networks at least, beside the dense ones that some need."""
    samples = -(-networks // (len(PRUNERS) * len(LEVELS) * 2))
    words = [sys.executable, str(ROOT / "main.py"), *QUICK, f"--out_path={folder}", "--pruner", *PRUNERS]
    words += ["--target_sparsity", *LEVELS, "--pruning_type", "direct", "effective"]
    return [*words, "--sample", *map(str, range(samples)), *more]


def start(folder: Path, networks: int, *more: str) -> subprocess.Popen:
    """A launcher, with its words in a file beside the results."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(f"{folder}.log", "ab") as log:
        return subprocess.Popen(command(folder, networks, *more), stdout=log, stderr=log, env=environment)


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have started."""
    try:
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [descendant for child in children for descendant in (child, *below(child))]


def workers(pid: int) -> list[int]:
    """Those below a launcher that carry out networks: the children of its server, or Ray's workers."""

    def name(process: int) -> str:
        try:
            return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
        except OSError:
            return ""

    own = [process for child in below(pid) if "forkserver" in name(child) for process in below(child)]
    return own + [process for process in below(pid) if name(process).startswith("ray::_Actor")]


class Watch:
    """Sees whether a result that is complete is ever written again, or anything fails."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, {}

    def look(self) -> bool:
        """Is more complete than before? Raises `AssertionError` if something is not what it was."""
        before = len(self.seen)
        for path in self.folder.glob("**/run.json"):
            status = path.stat()
            assert '"failed"' not in path.read_text(), f"{path} failed"
            marks = status.st_ino, status.st_mtime_ns
            assert self.seen.setdefault(path, marks) == marks, f"{path} was made twice"
        return len(self.seen) > before


def disturbed(folder: Path, networks: int, kills: int, choice: random.Random, more: list[str]) -> tuple[int, int]:
    """Carry out a campaign and kill its processes; returns how many workers and launchers were killed."""
    launchers: list[subprocess.Popen] = []
    watch, killed, fallen = Watch(folder), 0, 0
    moved = time.monotonic()
    while True:
        assert time.monotonic() - moved < PATIENCE, "the campaign hangs"
        for launcher in [one for one in launchers if one.poll() is not None]:
            launchers.remove(launcher)
            if launcher.returncode == 0:
                assert killed >= kills, f"it ended after {killed} kills"
                for other in launchers:
                    assert other.wait(timeout=120) == 0
                watch.look()
                return killed, fallen
            assert launcher.returncode in (0, -signal.SIGKILL), f"status {launcher.returncode}: see {folder}.log"
        is_middle = kills / 3 <= killed < 2 * kills / 3
        while len(launchers) < (2 if is_middle and "--launcher=ray" not in more else 1):
            launchers.append(start(folder, networks, *more))
            time.sleep(2)
        time.sleep(choice.uniform(0.05, 1.0))
        if watch.look():
            moved = time.monotonic()
        victims = [process for launcher in launchers for process in workers(launcher.pid)]
        if killed < kills and victims:
            os.kill(choice.choice(victims), signal.SIGKILL)
            killed += 1
            if killed % 10 == 0:
                os.kill(launchers[0].pid, signal.SIGKILL)
                fallen += 1


def check_same(one: Path, other: Path) -> int:
    """Raise `AssertionError` unless two results folders hold the same networks; returns how many."""
    rows = [load_summaries(folder, status=None).sort_values("run").reset_index(drop=True) for folder in (one, other)]
    assert all((table["status"] == "complete").all() and table["run"].is_unique for table in rows)
    pd.testing.assert_frame_equal(rows[0].drop(columns=SECONDS), rows[1].drop(columns=SECONDS), check_exact=True)
    for record in one.glob("**/run.json"):
        twin = other / record.parent.relative_to(one)
        assert sorted(path.name for path in record.parent.iterdir()) == sorted(path.name for path in twin.iterdir())
        for path in record.parent.iterdir():
            if path.suffix == ".safetensors":
                assert path.read_bytes() == (twin / path.name).read_bytes(), path
            elif path.name not in ("summary.csv", "run.json"):
                tables = [
                    pd.read_csv(file).drop(columns="seconds", errors="ignore") for file in (path, twin / path.name)
                ]
                pd.testing.assert_frame_equal(*tables, check_exact=True)
    return len(rows[0])


def main() -> None:
    """Carry it out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--launcher", default="local")
    given = parser.parse_args()
    more = [f"--launcher={given.launcher}", "--workers=2"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True, dir=os.environ.get("FAULTS")) as place:
        calm, troubled = Path(place) / "calm", Path(place) / "troubled"
        assert start(calm, given.networks).wait() == 0
        choice = random.Random(given.seed)
        killed, fallen = disturbed(troubled, given.networks, given.kills, choice, more)
        count = check_same(calm, troubled)
    sys.stdout.write(
        f"{count} networks, {killed} workers and {fallen} launchers killed: each network once, all rows the same\n"
    )


if __name__ == "__main__":
    main()
