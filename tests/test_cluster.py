"""The same campaign through Ray: workers and machines are lost, and every row is what it would have been."""

import os
import random
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import faults
import pandas as pd
import pytest

import main
from Utils.results import load_summaries

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SECONDS = ["prune_seconds", "train_seconds"]
WORDS = ["--data=digits", "--iterations=400", "--evaluate_every=100", "--checkpoint_every=50", "--target_sparsity",
         "0.5", "0.9", "--pruner", "snip", "magnitude", "random", "--sample", "0", "1"]  # fmt: skip


def rows_of(folder: Path) -> pd.DataFrame:
    return load_summaries(folder, status=None).drop(columns=SECONDS).sort_values("run").reset_index(drop=True)


def test_a_killed_worker_of_two(tmp_path):
    calm, troubled = tmp_path / "calm", tmp_path / "troubled"
    assert faults.start(calm, 40).wait() == 0
    killed, _ = faults.disturbed(troubled, 40, 2, random.Random(0), ["--launcher=ray", "--workers=2"])
    assert killed == 2
    assert faults.check_same(calm, troubled) == 41


@pytest.fixture
def slurm(tmp_path):
    """What Slurm gives a job, on one machine that passes for two."""
    tools = tmp_path / "tools"
    tools.mkdir()
    address = "127.0.0.1"
    for name, text in {
        "srun": '#!/bin/bash\nwhile [[ "$1" == --* ]]; do shift; done\nexec "$@"\n',
        "scontrol": "#!/bin/bash\necho one\necho two\n",
        "hostname": f"#!/bin/bash\necho {address}\n",
        "python": f'#!/bin/bash\nexec {sys.executable} "$@"\n',
        "ray": f'#!/bin/bash\nexec {sys.executable} -m ray.scripts.scripts "$@"\n',
    }.items():
        (tools / name).write_text(text)
        (tools / name).chmod((tools / name).stat().st_mode | stat.S_IXUSR)
    with socket.socket() as free:
        free.bind((address, 0))
        job = 20000 + free.getsockname()[1] % 20000
    return {
        **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SLURM_JOB_ID": str(job), "OMP_NUM_THREADS": "1",
        "SLURM_JOB_NODELIST": "one,two", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "1",
    }  # fmt: skip


def raylets(group: int) -> list[int]:
    """The processes of a job that stand for its machines, that of the command itself first."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = os.getpgid(int(process.name)) == group or os.getsid(int(process.name)) == group
            if is_ours and (process / "cmdline").read_bytes().split(b"\0")[0].endswith(b"/raylet"):
                found.append(int(process.name))
        except OSError:
            continue
    return sorted(
        found, key=lambda process: not any("_QueueActor" in name_of(child) for child in faults.below(process))
    )


def name_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def test_a_job_of_two_machines_one_of_which_is_lost(tmp_path, slurm):
    out, log = tmp_path / "out", tmp_path / "log"
    assert main.main([*WORDS, f"--out_path={tmp_path}/calm"]) == 0
    command = ["bash", str(ROOT / "docs" / "slurm.sh"), *WORDS, f"--out_path={out}"]
    with log.open("wb") as file:
        job = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT, env=slurm, start_new_session=True)
    try:
        lost = False
        while job.poll() is None:
            machines = raylets(job.pid)
            if not lost and len(list(out.rglob("run.json"))) >= 3 and len(machines) == 2:
                os.kill(machines[1], signal.SIGKILL)
                lost = True
            time.sleep(0.2)
        assert job.returncode == 0 and lost, log.read_text()[-4000:]
        pd.testing.assert_frame_equal(rows_of(tmp_path / "calm"), rows_of(out))
    finally:
        # Ray's processes stay in the job's session.
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.getsid(int(process.name)) == job.pid:
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:
                continue


def test_no_cluster_and_no_room(tmp_path, capsys):
    assert main.main([*WORDS, f"--out_path={tmp_path}", "--launcher=ray", "--ray_address=127.0.0.1:1"]) == 2
    assert "--ray_address=127.0.0.1:1: no Ray cluster answers" in capsys.readouterr().err
    assert main.main([*WORDS, f"--out_path={tmp_path}", "--launcher=ray", "--threads=1000"]) == 2
    assert "Ray has no room for a network of 1000 CPUs" in capsys.readouterr().err


def test_failures_and_warnings_come_back(tmp_path, capsys):
    words = ["--data=digits", "--iterations=60", "--lr=1e35", "--optimizer=sgd", "--pruner=random,magnitude"]
    assert main.main([*words, f"--out_path={tmp_path}", "--launcher=ray", "--workers=1"]) == 1
    rows = load_summaries(tmp_path, status=None).set_index("pruner")
    assert set(rows["status"]) == {"failed"} and rows.loc["magnitude", "error"].startswith("it needs")
    words = ["--data=digits", "--pruner=random/uniform,random", "--com_exp=5", "--iterations=20"]
    assert main.main([*words, f"--out_path={tmp_path}", "--launcher=ray", "--workers=1"]) == 0
    assert "has collapsed" in capsys.readouterr().err
