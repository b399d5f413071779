"""Main command: prunes networks, trains them, and stores the results.

    python main.py --pruner=snip --target_sparsity=0.99 --pruning_type=effective

Every combination of list-valued flags is a run. Complete runs are skipped, so the same command resumes after an
interruption.
"""

import os
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout

from Experiments.planning import command_line
from Experiments.planning.registry_tables import as_text
from Utils.config.command import Command
from Utils.config.parser import Request
from Utils.distributed.torchrun import end_process
from Utils.errors import UserError, describe_error, one_line
from Utils.user_code import stopped_by_ctrl_c

_SECONDS_BEHIND_FIRST = 10
"""Delay before an error exit of any process but the first."""


def main(arguments: Sequence[str]) -> int:
    """Execute a command line; returns the exit status: 0, 1 if runs failed, 2 for an invalid request."""
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    try:
        with stopped_by_ctrl_c():
            return carry_out(read(arguments))
    except UserError as error:
        print(f"main.py: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nmain.py: interrupted; complete runs are kept, the same command resumes from there", file=sys.stderr)
        return 130


def read(arguments: Sequence[str]) -> Request:
    """Parse the command line; names are checked against the registries before PyTorch is loaded."""
    return command_line.read(arguments, (__doc__ or "").split("\n")[0])


def carry_out(request: Request) -> int:
    """Print lists, or prune and train, as a single process or as one of several."""
    command, request = request.split(Command)
    reports = [name for name in ("list", "dry_run", "status", "check") if getattr(command, name) not in (None, False)]
    if len(reports) > 1:
        raise UserError(f"--{' and --'.join(reports)} exclude each other; give one of them")
    if command.list is not None:
        if request.values:
            raise UserError(f"--list runs nothing, so --{next(iter(request.values))} has no effect; leave it out")
        print(as_text(command.list))
        return 0
    if command.check:
        return check_networks(request)
    from Utils.campaign.executors.process_group import dismiss
    from Utils.distributed.process_group import is_first, process_group

    with process_group(request.values.get("device", "auto")):
        if not is_first():
            return follow_first()
        status = prune_and_train(request, command)
        dismiss()
        return status


def check_networks(request: Request) -> int:
    """Print what pruning would meet on each network of the request, without data."""
    from Experiments.planning.check import check
    from Experiments.planning.reporting import say

    for report in check(request):
        say(report)
    return 0


def prune_and_train(request: Request, command: Command) -> int:
    """Plan the request, then execute its runs, or report their state with `--status` or `--dry_run`."""
    from Experiments.planning.make_executor import executor_of
    from Experiments.planning.plan import plan
    from Experiments.planning.reporting import reporter_of, say
    from Experiments.planning.status import dry_run, status
    from Utils.campaign.campaign import run_campaign
    from Utils.results.store import Store

    is_report = command.dry_run or command.status
    planned = plan(request, may_download=not is_report)
    store = Store(planned.common.run.out_path)
    if is_report:
        say(dry_run(planned, store) if command.dry_run else status(planned, store))
        return 0
    make_executor = executor_of(planned.common.machine)
    return 1 if run_campaign(planned, store, make_executor, reporter_of(planned, store)) else 0


def follow_first() -> int:
    """Execute what the first process executes, silently; returns the exit status."""
    from Utils.campaign.executors.process_group import follow

    warnings.showwarning = lambda *_: None
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            follow()
        return 0
    except Exception as error:
        # Mostly all processes meet the same error; the first reports it, and its end ends the others.
        time.sleep(_SECONDS_BEHIND_FIRST)
        print(f"main.py: {describe_error(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    end_process(main(sys.argv[1:]))
