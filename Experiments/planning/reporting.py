"""Reporting of a command: the text about each finished run, and the reporter that its flags ask for."""

import sys
from os import devnull

import pandas as pd

from Utils.campaign.plan import Plan, PlannedRun
from Utils.campaign.progress import TextReporter
from Utils.campaign.reporter import Reporter
from Utils.campaign.tensorboard import TensorBoardReporter, TensorBoardWriter
from Utils.results.store import Store
from Utils.sparsity.size_report import size_report

_FEW = 10
"""Largest number of runs that are reported in full."""

_FAR = 1.05
"""Ratio of effective weights to the target above which the report explains the excess."""


def reporter_of(plan: Plan, store: Store) -> Reporter:
    """A reporter that prints and, with `--tensorboard`, writes for TensorBoard. Raises `UserError` if it cannot."""

    def describe(run: PlannedRun, row: pd.DataFrame, layers: pd.DataFrame) -> str:
        return result_text(run, row, layers, store, is_short=len(plan.runs) > _FEW)

    folder = plan.common.machine.tensorboard
    if folder is None:
        return TextReporter(say, describe)
    return TensorBoardReporter(say, describe, TensorBoardWriter(folder))


def say(text: str) -> None:
    """Print without buffering, also into a file or a pipe; a closed pipe does not stop the runs."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = open(devnull, "w")  # noqa: SIM115


def result_text(run: PlannedRun, row: pd.DataFrame, layers: pd.DataFrame, store: Store, is_short: bool) -> str:
    """The result of a run: in one line, or with the size of the pruned network."""
    result, settings = row.iloc[0], run.settings
    place = f"  {store.folder(settings)}" if settings.run.save else "  not kept (--save=0)"
    if result["error"]:
        return f"{run.title}: FAILED, {result['error']}\n{place}"
    if settings.is_study:
        return f"{run.title}: complete\n{place}"
    accuracy = f"{run.title}: top-1 {result['top1']:.4f}, best {result['best_top1']:.4f}"
    if is_short:
        kept = f"kept {result['kept_direct']} of {result['prunable']} weights, {result['kept_effective']} effective"
        return f"{accuracy}, {kept}"
    pruning_type = settings.pruning.pruning_type
    is_far = pruning_type == "effective" and result["kept_effective"] > _FAR * result["target_kept"]
    reason = ", the nearest that is reachable: one weight less leaves too few" if is_far else ""
    return (
        f"{accuracy}\n"
        f"  kept {result['kept_direct']} of {result['prunable']} weights (direct compression "
        f"{result['direct_compression']:.4g}), {result['kept_effective']} effective (effective compression "
        f"{result['effective_compression']:.4g}); target {result['target_kept']} {pruning_type}{reason}\n"
        f"{size_report(layers, int(result['parameters']), int(result['macs']))}\n"
        f"  pruned in {result['prune_seconds']:.2f} s, trained in {result['train_seconds']:.3g} s\n{place}"
    )
