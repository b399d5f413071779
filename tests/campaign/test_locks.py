"""Run locks: one process per run, released as soon as that process ends, in whatever way."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from Utils.campaign.locks import RunLocks
from Utils.errors import UserError

HOLDS = "import sys, time; from Utils.campaign.locks import RunLocks; from pathlib import Path\n"
HOLDS += "locks = RunLocks(Path(sys.argv[1])); print(locks.acquire('run'), flush=True); time.sleep(60)"


@pytest.fixture
def other(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None and process.stdout.readline() == b"True\n"
    yield process
    process.kill()
    process.wait()


def test_a_lock_of_another_process(tmp_path, other):
    locks = RunLocks(tmp_path)
    assert not locks.acquire("run") and locks.acquire("another")
    assert locks.owner("run") == f"process {other.pid} on {os.uname().nodename}"
    assert locks.owners().keys() == {"run", "another"}
    locks.release("another")
    assert locks.owners().keys() == {"run"} and locks.acquire("another")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_ends_with_its_process(tmp_path, other, end):
    other.send_signal(end)
    other.wait()
    locks = RunLocks(tmp_path)
    assert locks.owner("run") is None and locks.owners() == {}
    assert locks.acquire("run")


def test_a_lock_is_exclusive_within_a_process(tmp_path):
    one, two = RunLocks(tmp_path), RunLocks(tmp_path)
    assert one.acquire("run") and not two.acquire("run")
    one.release_all()
    assert two.acquire("run") and two.owners().keys() == {"run"}


def test_locks_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be locked"):
        RunLocks(tmp_path / "file").acquire("run")


def test_who_holds_a_lock_need_not_be_written(tmp_path, monkeypatch):
    def full(self, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    locks = RunLocks(tmp_path)
    assert locks.acquire("run") and not RunLocks(tmp_path).acquire("run")
    locks.release("run")
    assert RunLocks(tmp_path).acquire("run")


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def missing(*rest):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    with pytest.raises(UserError, match="cannot be locked"):
        RunLocks(tmp_path).acquire("run")
