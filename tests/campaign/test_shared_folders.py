"""A results folder of several users: what one writes, the others can go on with, as the folder's permissions say."""

import os
import stat
from pathlib import Path

import pytest
from commands import call
from users import needs_root, public_folder, start_as

from Utils.campaign.locks import RunLocks
from Utils.results import load_summaries
from Utils.results.atomic_files import replace_file

GROUP = 54321


@pytest.fixture
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(path: Path, below: Path) -> list[int]:
    """The permissions of a file, then of the folders that it lies in."""
    paths = [path, *path.parents]
    return [stat.S_IMODE(item.stat().st_mode) for item in paths[: paths.index(below)]]


@pytest.mark.parametrize(("folder", "umask", "file", "inner"), [
    (0o755, 0o022, 0o644, 0o755), (0o755, 0o077, 0o600, 0o700), (0o700, 0o002, 0o664, 0o775),
    (0o775, 0o022, 0o664, 0o2775), (0o2775, 0o022, 0o664, 0o2775), (0o2770, 0o077, 0o660, 0o2770),
    (0o2770, 0o027, 0o660, 0o2770), (0o777, 0o022, 0o666, 0o2777), (0o1777, 0o022, 0o664, 0o2775),
    (0o1775, 0o022, 0o664, 0o2775), (0o1757, 0o022, 0o644, 0o755),
])  # fmt: skip
def test_new_files_and_folders_follow_their_folder(tmp_path, folder, umask, file, inner):
    results = tmp_path / "Results"
    results.mkdir()
    results.chmod(folder)
    before = os.umask(umask)
    try:
        replace_file(results / "a" / "file", b"content")
        locks = RunLocks(results)
        assert locks.acquire("run")
        locks.release_all()
    finally:
        os.umask(before)
    assert modes(results / "a" / "file", results) == [file, inner]
    assert modes(results / ".locks" / "run.lock", results) == [file, inner]


def test_a_whole_campaign_is_shared(tmp_path, usual_umask):
    results = tmp_path / "Results"
    results.mkdir()
    results.chmod(0o2775)
    assert call(results, "--pruner=magnitude", "--checkpoint_every=10") == 0
    found = [(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in results.rglob("*")]
    assert len(found) > 15 and set(found) == {(True, 0o2775), (False, 0o664)}


BEFORE = (
    "import tempfile, time\nfrom commands import call, execute\nfrom Utils.campaign.locks import RunLocks\n"
    "from pathlib import Path\nfrom Utils.results import load_summaries\n"
    "with tempfile.TemporaryDirectory() as name: call(Path(name), '--pruner=magnitude', '--checkpoint_every=10')\n"
)
HOLD = "locks = RunLocks(Path(sys.argv[1])); print(locks.acquire('run'), flush=True); time.sleep(60)"
TRY = "print(RunLocks(Path(sys.argv[1])).acquire('run'))"
RUN = "sys.exit(call(Path(sys.argv[1]), *sys.argv[2:]))"


@pytest.fixture
def shared():
    """A folder of a group, as `chgrp GROUP` and `chmod g+ws` make it, and a command of user 1 or 2 in it."""
    with public_folder() as place:
        results = place / "Results"
        results.mkdir()
        os.chown(results, 11111, GROUP)
        results.chmod(0o2775)
        yield results


def execute_as(user: int, results: Path, *words: str, group: int = GROUP) -> tuple[int, str]:
    process = start_as(user, [user, group], BEFORE, RUN, results, *words)
    out = process.communicate(timeout=300)[0]
    return process.returncode, out


@pytest.mark.slow
@needs_root
def test_two_users_share_runs_and_the_weights_of_dense_networks(shared):
    assert execute_as(11111, shared, "--pruner=magnitude")[0] == 0
    status, out = execute_as(22222, shared, "--pruner=magnitude,lamp", "--overwrite")
    assert status == 0 and "Traceback" not in out, out
    status, out = execute_as(11111, shared, "--pruner=magnitude,lamp,random")
    assert status == 0 and out.count("complete already") == 2, out
    assert len(load_summaries(shared)) == 4
    owners = {path.stat().st_uid for path in shared.rglob("run.json")}
    assert owners == {11111, 22222} and {path.stat().st_gid for path in shared.rglob("*")} == {GROUP}


@needs_root
def test_a_lock_of_another_user_is_seen_and_free_when_it_dies(shared):
    holder = start_as(11111, [11111, GROUP], BEFORE, HOLD, shared)
    while (line := holder.stdout.readline()) != "True\n":
        assert line, "it ended"
    other = start_as(22222, [22222, GROUP], BEFORE, TRY, shared)
    assert other.communicate(timeout=300)[0].splitlines()[-1] == "False"
    holder.kill()
    holder.wait()
    third = start_as(22222, [22222, GROUP], BEFORE, HOLD, shared)
    while (line := third.stdout.readline()) != "True\n":
        assert line, "it ended"
    assert RunLocks(shared).owner("run") == f"process {third.pid} on {os.uname().nodename}"
    third.kill()
    third.wait()


@pytest.mark.slow
@needs_root
def test_who_may_not_write_gets_one_line(shared):
    assert execute_as(11111, shared, "--pruner=random")[0] == 0
    status, out = execute_as(33333, shared, "--pruner=snip", group=33333)
    error = out.splitlines()[-1]
    assert status == 2 and error.startswith(f"main.py: cannot write to {shared}: Permission denied"), out
    for path in shared.rglob("*.lock"):
        path.chmod(0o644)
    status, out = execute_as(22222, shared, "--pruner=random", "--overwrite")
    error = out.splitlines()[-1]
    assert status == 2 and "cannot be locked: permission denied; let its owner open it to you (chmod -R g+rwX" in error
    for path in shared.rglob("run.json"):
        path.chmod(0o600)
    status, out = execute_as(22222, shared, "--pruner=random")
    assert status == 2 and out.splitlines()[-1].endswith("run.json is unreadable: permission denied"), out
