"""Group executor: executes each bundle in all processes of a group, which train one network together.

The first process plans, reads, writes and reports; the others follow it.
"""

from dataclasses import dataclass, field

from Utils.campaign.jobs import Bundle, Failed, Message
from Utils.campaign.worker import InProcessExecutor, Worker
from Utils.distributed.process_group import agree
from Utils.errors import UserError


@dataclass
class GroupExecutor(InProcessExecutor):
    """Executes bundles in this process and in those that follow it, one at a time."""

    worker: Worker = field(default_factory=lambda: Worker(first_process=agree))
    is_group: bool = True

    def submit(self, bundle: Bundle, slot: int) -> None:
        """Send a bundle to all processes."""
        agree(lambda: bundle)
        super().submit(bundle, slot)


def follow() -> None:
    """Execute the bundles of the first process until it dismisses its followers.

    An error is raised, so that no process waits for a follower that has stopped.
    """
    worker = Worker(has_bars=False, first_process=agree)
    while True:
        bundle: Bundle | None = agree(lambda: None)
        if bundle is None:
            return
        for report in worker.execute(bundle, _ignore):
            if isinstance(report, Failed):
                raise UserError(report.reason)


def dismiss() -> None:
    """End the processes that follow this one."""
    agree(lambda: None)


def _ignore(message: Message) -> None:
    """Drop a message: the first process sends the same."""
