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
from conftest import ROOT

import main
from Utils.results import load_summaries

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

FIRST, SECOND = "127.0.0.1", "127.0.0.2"
"""Addresses of one machine that passes for two."""
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
    second = f"--node-ip-address={SECOND}"
    ray = f'exec {sys.executable} -m ray.scripts.scripts "$@"'
    for name, text in {
        "srun": '#!/bin/bash\nwhile [[ "$1" == --* ]]; do shift; done\nexec "$@"\n',
        "scontrol": "#!/bin/bash\necho one\necho two\n",
        "hostname": f"#!/bin/bash\necho {FIRST}\n",
        "python": f'#!/bin/bash\nexec {sys.executable} "$@"\n',
        # Ray tells machines by their addresses.
        "ray": f'#!/bin/bash\n[[ "$*" != start* || "$*" == *--head* ]] || set -- "$@" {second}\n{ray}\n',
    }.items():
        (tools / name).write_text(text)
        (tools / name).chmod((tools / name).stat().st_mode | stat.S_IXUSR)
    with socket.socket() as free:
        free.bind((FIRST, 0))
        job = 20000 + free.getsockname()[1] % 20000
    return {
        **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SLURM_JOB_ID": str(job), "OMP_NUM_THREADS": "1",
        "SLURM_JOB_NODELIST": "one,two", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "1",
    }  # fmt: skip


def machine(session: int, address: str) -> int | None:
    """The process of a job that stands for one of its machines, once it is there."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")
            is_ours = os.getsid(int(process.name)) == session
        except OSError:
            continue
        if is_ours and words[0].endswith("/raylet") and f"--node_ip_address={address}" in words:
            return int(process.name)
    return None


def test_a_job_of_two_machines_one_of_which_is_lost(tmp_path, slurm):
    out, log = tmp_path / "out", tmp_path / "log"
    assert main.main([*WORDS, f"--out_path={tmp_path}/calm"]) == 0
    command = ["bash", str(ROOT / "docs" / "slurm.sh"), *WORDS, f"--out_path={out}"]
    with log.open("wb") as file:
        job = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT, env=slurm, start_new_session=True)
    try:
        lost = False
        while job.poll() is None:
            second = None if lost else machine(job.pid, SECOND)
            if second is not None and len(list(out.rglob("run.json"))) >= 3:
                os.kill(second, signal.SIGKILL)
                lost = True
            time.sleep(0.2)
        # Without what Ray shows of the machine that was killed.
        said = [line for line in log.read_text().splitlines() if "raylet)" not in line and "state-dump" not in line]
        assert job.returncode == 0 and lost, "\n".join(said[-100:])
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
