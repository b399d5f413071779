"""A run is made by one process at a time, and is free as soon as that process ends, in whatever way."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from Utils.campaign.locks import RunLocks
from Utils.errors import UserError

ROOT = Path(__file__).parents[1]
HOLDS = "import sys, time; from Utils.campaign.locks import RunLocks; from pathlib import Path\n"
HOLDS += "locks = RunLocks(Path(sys.argv[1])); print(locks.acquire('run'), flush=True); time.sleep(60)"


@pytest.fixture
def other(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None and process.stdout.readline() == b"True\n"
    yield process
    process.kill()
    process.wait()


def test_a_claim_of_another_process(tmp_path, other):
    claims = RunLocks(tmp_path)
    assert not claims.acquire("run") and claims.acquire("another")
    assert claims.owner("run") == f"process {other.pid} on {os.uname().nodename}"
    assert claims.owners().keys() == {"run", "another"}
    claims.release("another")
    assert claims.owners().keys() == {"run"} and claims.acquire("another")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_claim_ends_with_its_process(tmp_path, other, end):
    other.send_signal(end)
    other.wait()
    claims = RunLocks(tmp_path)
    assert claims.owner("run") is None and claims.owners() == {}
    assert claims.acquire("run")


def test_a_claim_is_exclusive_within_a_process(tmp_path):
    one, two = RunLocks(tmp_path), RunLocks(tmp_path)
    assert one.acquire("run") and not two.acquire("run")
    one.release_all()
    assert two.acquire("run") and two.owners().keys() == {"run"}


def test_claims_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be locked"):
        RunLocks(tmp_path / "file").acquire("run")


def test_who_holds_a_claim_need_not_be_written(tmp_path, monkeypatch):
    def full(self, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    claims = RunLocks(tmp_path)
    assert claims.acquire("run") and not RunLocks(tmp_path).acquire("run")
    claims.release("run")
    assert RunLocks(tmp_path).acquire("run")


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    import filelock._unix as unix

    def missing(*rest):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(unix.fcntl, "flock", missing)
    with pytest.raises(UserError, match="cannot be locked"):
        RunLocks(tmp_path).acquire("run")
