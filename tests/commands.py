"""Short runs as users start them: in this process, or as a program of its own."""

import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
from conftest import ROOT

import main
from Experiments.planning.resolve import resolve_all
from Utils.config.command import Command
from Utils.config.settings import Settings
from Utils.results import load_summaries
from Utils.results.store import Store
from Utils.user_code import Stopped

QUICK = ["--data=digits", "--iterations=20", "--evaluate_every=10"]


def execute(results: Path, *words: str) -> int:
    """The exit status of main.py."""
    return main.main([*words, f"--out_path={results}"])


def call(results: Path, *words: str) -> int:
    """The exit status of main.py in a short run."""
    return execute(results, *QUICK, *words)


def start(results: Path, *words: str, **options) -> subprocess.Popen:
    """main.py as a process; Ctrl-C reaches it even if the tests ignore it."""
    command = [sys.executable, str(ROOT / "main.py"), *QUICK, *words, f"--out_path={results}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | options
    return subprocess.Popen(command, preexec_fn=_listen_to_ctrl_c, **pipes)


def _listen_to_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def comparable_rows(results: Path) -> pd.DataFrame:
    """Every row of `summary.csv`, without the columns of seconds, in the order of the run keys."""
    rows = load_summaries(results, status=None).drop(columns=["prune_seconds", "train_seconds"])
    return rows.sort_values("run").reset_index(drop=True)


def runs(*words: str, data: str = "digits") -> list[Settings]:
    """The resolved runs of a command, without a look at any data."""
    _, request = main.read(words).split(Command)
    return resolve_all(request, lambda _, name: name or data)


def kill_after(monkeypatch, number: int, words: list[str]) -> None:
    """Carry out a command until it has kept so many checkpoints, when it is stopped at once."""
    keep, kept = Store.write_checkpoint, []

    def dies(self, settings, name, content):
        keep(self, settings, name, content)
        kept.append(name)
        if len(kept) == number:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_checkpoint", dies)
        assert main.main(words) == 130
