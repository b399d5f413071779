"""Reporting of a command: the text about each finished run, and the reporter that its flags ask for."""

import sys
from collections.abc import Mapping
from os import devnull
from textwrap import indent

import pandas as pd

from Experiments.registry import EXPERIMENTS
from Utils.campaign.plan import Plan, PlannedRun
from Utils.campaign.progress import TextReporter
from Utils.campaign.reporter import Reporter
from Utils.campaign.tensorboard import TensorBoardReporter, TensorBoardWriter
from Utils.config.groups import Pruning
from Utils.results.store import Store
from Utils.sparsity.size_report import size_report

_FEW = 10
"""Largest number of runs that are reported in full."""

_FAR = 1.05
"""Ratio of effective weights to the target above which the report explains the excess."""


def reporter_of(plan: Plan, store: Store) -> Reporter:
    """A reporter that prints and, with `--tensorboard`, writes for TensorBoard. Raises `UserError` if it cannot."""

    def describe(run: PlannedRun, row: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> str:
        return result_text(run, row, tables, store, is_short=len(plan.runs) > _FEW)

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


def result_text(
    run: PlannedRun, row: pd.DataFrame, tables: Mapping[str, pd.DataFrame], store: Store, is_short: bool
) -> str:
    """The result of a run: in one line, or with the table of its experiment or the size of the pruned network."""
    result, settings = row.iloc[0], run.settings
    place = f"  {store.folder(settings)}" if settings.run.save else "  not kept (--save=0)"
    if result["error"]:
        return f"{run.title}: FAILED, {result['error']}\n{place}"
    if settings.is_study:
        return f"{run.title}: complete\n{place}"
    accuracy = f"{run.title}: top-1 {result['top1']:.4f}, best {result['best_top1']:.4f}"
    printed = EXPERIMENTS[settings.run.experiment].printed_table
    if printed is not None:
        table = indent(tables[printed].to_string(index=False), "  ")
        return accuracy if is_short else f"{accuracy}\n{table}\n  trained in {result['train_seconds']:.3g} s\n{place}"
    if is_short:
        kept = f"kept {result['kept_direct']} of {result['prunable']} weights, {result['kept_effective']} effective"
        return f"{accuracy}, {kept}"
    return (
        f"{accuracy}\n{_kept(result, settings.pruning)}\n"
        f"{size_report(tables['layers'], int(result['parameters']), int(result['macs']))}\n"
        f"  pruned in {result['prune_seconds']:.2f} s, trained in {result['train_seconds']:.3g} s\n{place}"
    )


def _kept(result: pd.Series, pruning: Pruning) -> str:
    """How many weights are kept, and how many weights or units should be."""
    is_far = pruning.pruning_type == "effective" and result["kept_effective"] > _FAR * result["target_kept"]
    reason = ", the nearest that is reachable: one weight less leaves too few" if is_far else ""
    unit = "units" if pruning.counts_units else "weights"
    return (
        f"  kept {result['kept_direct']} of {result['prunable']} weights (direct compression "
        f"{result['direct_compression']:.4g}), {result['kept_effective']} effective (effective compression "
        f"{result['effective_compression']:.4g}); target {result['target_kept']} {unit}, "
        f"{pruning.pruning_type}{reason}"
    )
