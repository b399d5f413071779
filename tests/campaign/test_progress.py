"""Progress of a campaign: bars on a terminal, and TensorBoard."""

import contextlib
import fcntl
import os
import pty
import struct
import sys
import termios

import pandas as pd
import pytest
from commands import call


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
    assert "campaign: 100%" in text and "4/4" in text
    assert any(rate in text for rate in ("network/s", "s/network"))
    assert "snip direct 0.9 sample 0:" in text and "loss " in text and "top-1 " in text and "/300" in text
