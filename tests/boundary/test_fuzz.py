"""Random command lines: in this process many, and a few as real processes."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

from tests.boundary import fuzz

pytestmark = pytest.mark.usefixtures("offline")

LINES = int(os.environ.get("FUZZ_LINES", "40"))
"""More are tried with `python -m tests.boundary.fuzz --lines=N`."""


def test_random_lines_have_answers(tmp_path, monkeypatch):
    """Some are carried out and some are refused, so that they reach all parts of the program."""
    statuses, program = [], fuzz.program.main
    monkeypatch.setattr(fuzz.program, "main", lambda words: statuses.append(program(words)) or statuses[-1])
    assert list(fuzz.fuzz(tmp_path, 0, range(LINES))) == []
    assert min(statuses.count(0), statuses.count(2)) >= LINES / 6


def test_a_fault_is_found(tmp_path, monkeypatch):
    def fails(words):
        if "--dry_run" in words:
            raise KeyError("x")
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "summary.csv").write_text("")
        return 3

    monkeypatch.setattr(fuzz.program, "main", fails)
    assert list(fuzz.faults(["--dry_run"], tmp_path / "out")) == ["KeyError: 'x'"]
    status, half, *_ = fuzz.faults([], tmp_path / "out")
    assert status == "status 3" and half.startswith("half-written: ")


def test_random_lines_as_processes(tmp_path):
    lines = fuzz.Lines(tmp_path, 1)
    for number in range(3):
        command = [sys.executable, str(ROOT / "main.py"), *lines.line(number)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=fuzz.SECONDS)
        assert done.returncode in (0, 1, 2) and "Traceback" not in done.stderr, (command, done.stderr)
