"""Executors: each job of a bundle has its report, whatever its code does; what cannot start is refused."""

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from conftest import ROOT

from Utils.campaign.executors.process_pool import ProcessPool
from Utils.campaign.jobs import Failed, Finished, Job, Message, Report, WorkerDied
from Utils.campaign.worker import InProcessExecutor
from Utils.config.settings import Settings
from Utils.errors import UserError
from Utils.results.outcome import Outcome
from Utils.training.context import Progress
from Utils.user_code import Stopped, stopped_by_ctrl_c


def run(settings, inputs, context) -> Outcome:
    """Report progress, then end as the sample says; the name of the run is its first summary column."""
    context.listener(Progress(settings.run.sample, 10, "halfway"))
    if settings.run.sample == 1:
        raise UserError("no such thing")
    if settings.run.sample == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome.of_study({}, {"top1": settings.run.sample})


def job(name: str, sample: int) -> Job:
    return Job(name, Settings().with_values(sample=sample), "tests.campaign.test_worker:run")


def reports_of(executor, *bundle: Job) -> list[Report]:
    """All reports of a bundle, messages among them, until every job has ended."""
    reports: list[Report] = []
    executor.listen(reports.append)
    try:
        while not executor.free_slots():
            executor.wait(0.1)
        (slot,) = executor.free_slots()
        executor.submit(bundle, slot)
        assert executor.free_slots() == []
        while not {job.name for job in bundle} <= {one.name for one in reports if not isinstance(one, Message)}:
            reports += executor.wait(0.1)
    finally:
        executor.close()
    return reports


@pytest.mark.parametrize("make", [InProcessExecutor, lambda: ProcessPool(1)], ids=["in-process", "process pool"])
def test_each_job_of_a_bundle_has_its_report_and_its_messages(make):
    reports = reports_of(make(), job("a", 0), job("b", 1), job("c", 5))
    progress = {one.name: one.event for one in reports if isinstance(one, Message)}
    assert progress == {name: Progress(sample, 10, "halfway") for name, sample in (("a", 0), ("b", 1), ("c", 5))}
    ends = {one.name: one for one in reports if not isinstance(one, Message)}
    assert isinstance(ends["a"], Finished) and ends["a"].outcome.summary["top1"] == 0
    assert ends["b"] == Failed("b", "no such thing")
    assert isinstance(ends["c"], Finished) and ends["c"].outcome.summary["top1"] == 5


def test_every_job_of_a_bundle_is_lost_with_its_worker():
    reports = reports_of(ProcessPool(1), job("a", 0), job("b", 2))
    assert {one.name for one in reports if isinstance(one, WorkerDied)} == {"a", "b"}
    assert not any(isinstance(one, Finished | Failed) for one in reports)


def leave(settings, inputs, context) -> Outcome:
    """End the process, as the sample says: in another thread, in a forked process, or in this thread."""
    if settings.run.sample == 0:
        thread = threading.Thread(target=lambda: os._exit(3))
        thread.start()
        thread.join()
    elif settings.run.sample == 1:
        child = os.fork()
        if child == 0:
            os._exit(7)
        return Outcome.of_study({}, {"top1": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])})
    os._exit(3)


def test_an_exit_is_a_failure_in_the_thread_of_the_run_alone():
    executor, before = InProcessExecutor(), os._exit
    executor.listen(print)
    implementation = "tests.campaign.test_worker:leave"
    for sample in (1, 2):
        executor.submit((replace(job("a", sample), implementation=implementation),), 0)
    (forked,), (left,) = [executor.wait(0) for _ in range(2)][::-1]
    assert isinstance(forked, Finished) and forked.outcome.summary["top1"] == 7
    assert isinstance(left, Failed) and left.reason == "SystemExit: os._exit(3)" and "test_worker.py" in left.trace
    assert os._exit is before
    reports = reports_of(ProcessPool(1), replace(job("b", 0), implementation=implementation))
    assert reports == [WorkerDied("b", "its process ended with status 3")]


def raise_stopped(settings, inputs, context) -> Outcome:
    raise (KeyboardInterrupt, Stopped)[settings.run.sample]


@pytest.fixture
def python_hears_ctrl_c():
    """Python's own handler of Ctrl-C, which a program in the background does not inherit."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def test_ctrl_c_of_the_user_is_no_failure_of_a_run(python_hears_ctrl_c):
    executor, implementation = InProcessExecutor(), "tests.campaign.test_worker:raise_stopped"
    code, user = (replace(job("a", sample), implementation=implementation) for sample in (0, 1))
    executor.listen(print)
    with stopped_by_ctrl_c():
        executor.submit((code,), 0)
        ((report,),) = [executor.wait(0)]
        assert isinstance(report, Failed) and report.reason == "KeyboardInterrupt"
        executor.submit((user,), 0)
        with pytest.raises(Stopped):
            executor.wait(0)
    # Python's own handler raises the same as the code.
    executor.submit((code,), 0)
    with pytest.raises(KeyboardInterrupt):
        executor.wait(0)


@pytest.mark.skipif(os.name != "posix", reason="limits of open files")
def test_workers_without_files_to_open_are_refused(tmp_path):
    words = "--data=digits --train=0 --pruner=random --sample 0 1 2 3 4 5 6 7 --workers=8"
    limited = f"ulimit -n 24; exec {sys.executable} {ROOT / 'main.py'} {words} --out_path={tmp_path}"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert done.returncode == 2 and len(errors) == 1, done.stderr
    assert "--workers=8 needs 48 open files, and only 24 are allowed" in errors[0]


def test_an_address_at_which_no_cluster_answers():
    """Another program, and one that accepts and never answers."""
    from Utils.campaign.executors import ray_pool

    with socket.socket() as silent, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_pool, "_ANSWER_SECONDS", 0.5)
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match=rf"^--ray_address={address}: no Ray cluster answers \(timed out\)$"):
            ray_pool.check_address(address)
        with pytest.raises(UserError, match="no Ray cluster answers"):
            ray_pool.check_address(f"ray://{address}")
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.handle_request, daemon=True).start()
        with pytest.raises(UserError, match=r"no Ray cluster answers \(another program listens there\)"):
            ray_pool.check_address(f"127.0.0.1:{other.server_address[1]}")
    for odd in ("127.0.0.1:99999", "x:y", "..:80", ":", "a\0b:3"):
        with pytest.raises(UserError, match="no Ray cluster answers"):
            ray_pool.check_address(odd)
    for found_by_ray in (None, "auto", "head"):
        ray_pool.check_address(found_by_ray)
