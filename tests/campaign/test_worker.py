"""Bundles of jobs: executed by one worker, with a report and messages for each job."""

import os

import pytest

from Utils.campaign.executors.process_pool import ProcessPool
from Utils.campaign.jobs import Failed, Finished, Job, Message, Report, WorkerDied
from Utils.campaign.worker import InProcessExecutor
from Utils.config.settings import Settings
from Utils.errors import UserError
from Utils.results.outcome import Outcome
from Utils.training.context import Progress


def run(settings, inputs, context) -> Outcome:
    """Report progress, then end as the sample says; the name of the run is its first summary column."""
    context.listener(Progress(settings.run.sample, 10, "halfway"))
    if settings.run.sample == 1:
        raise UserError("no such thing")
    if settings.run.sample == 2:
        os._exit(1)
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
    assert isinstance(ends["b"], Failed) and str(ends["b"].error) == "no such thing"
    assert isinstance(ends["c"], Finished) and ends["c"].outcome.summary["top1"] == 5


def test_every_job_of_a_bundle_is_lost_with_its_worker():
    reports = reports_of(ProcessPool(1), job("a", 0), job("b", 2))
    assert {one.name for one in reports if isinstance(one, WorkerDied)} == {"a", "b"}
    assert not any(isinstance(one, Finished | Failed) for one in reports)
