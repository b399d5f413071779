"""Group executor: executes each job in all processes of a group, which train one network together.

The first process plans, reads, writes and reports; the others follow it.
"""

from dataclasses import dataclass, field

from Utils.campaign.jobs import Failed, Job
from Utils.campaign.worker import InProcessExecutor, Worker
from Utils.distributed.process_group import agree
from Utils.training.context import ignore


@dataclass
class GroupExecutor(InProcessExecutor):
    """Executes jobs in this process and in those that follow it, one at a time."""

    worker: Worker = field(default_factory=lambda: Worker(first_process=agree))
    is_group: bool = True

    def submit(self, job: Job, slot: int) -> None:
        """Send a job to all processes."""
        agree(lambda: job)
        super().submit(job, slot)


def follow() -> None:
    """Execute the jobs of the first process until it dismisses its followers.

    An error is raised, so that no process waits for a follower that has stopped.
    """
    worker = Worker(has_bars=False, first_process=agree)
    while True:
        job: Job | None = agree(lambda: None)
        if job is None:
            return
        report = worker.execute(job, ignore)
        if isinstance(report, Failed):
            raise report.error


def dismiss() -> None:
    """End the processes that follow this one."""
    agree(lambda: None)
