"""Main command: prunes networks, trains them, and stores the results.

    python main.py --pruner=snip --target_sparsity=0.99 --pruning_type=effective

Every combination of list-valued flags is a run. Complete runs are skipped, so the same command resumes after an
interruption.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import fields
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from Experiments.planning.choices import valid_names
from Experiments.planning.registry_tables import as_text
from Experiments.registry import EXPERIMENTS
from Models.registry import architecture
from Pruners import make_pruner
from Utils.config.choices import DENSE
from Utils.config.command import Command
from Utils.config.parser import Request, parse
from Utils.config.settings import GROUPS, Settings
from Utils.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

    from Utils.results.store import Store


_SECONDS_BEHIND_FIRST = 10
"""Delay before an error exit of any process but the first."""

FEW = 10
"""Largest number of runs that are reported in full."""

FAR = 1.05
"""Ratio of effective weights to the target above which the report explains the excess."""

INSTEAD = {"target_sparsity": "com_exp", "com_exp": "target_sparsity", "iterations": "epochs", "epochs": "iterations"}
"""Flags that replace each other: a flag of a file is dropped if its counterpart is typed."""


def main(arguments: Sequence[str]) -> int:
    """Execute a command line; returns the exit status: 0, 1 if runs failed, 2 for an invalid request."""
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    try:
        return carry_out(read(arguments))
    except UserError as error:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            # All processes that train one network meet the same error; the first reports it, and ends the others.
            time.sleep(_SECONDS_BEHIND_FIRST)
        print(f"main.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nmain.py: interrupted; complete runs are kept, the same command resumes from there", file=sys.stderr)
        return 130


def read(arguments: Sequence[str]) -> Request:
    """Parse the command line; names are checked against the registries before PyTorch is loaded."""
    options = {name: entry.options for name, entry in EXPERIMENTS.items() if entry.options is not None}
    groups = [*GROUPS.values(), *options.values(), Command]

    def parse_words(words: Sequence[str]) -> Request:
        return parse(words, groups, valid_names(), "main.py", (__doc__ or "").split("\n")[0])

    request = parse_words(arguments)
    if request.is_given("config"):
        request = with_config(request, request.values["config"], parse_words)
    experiment = request.values.get("experiment", Settings().run.experiment)
    chosen = (*GROUPS.values(), Command, options.get(experiment))
    known = {item.name for group in chosen if group for item in fields(group)}
    for flag in request.values.keys() - known:
        owners = [name for name, group in options.items() if flag in {item.name for item in fields(group)}]
        raise UserError(f"--{flag} has no effect with --experiment={experiment}; it belongs to {' and '.join(owners)}")
    return request


def with_config(request: Request, path: str, parse_words: Callable[[Sequence[str]], Request]) -> Request:
    """Complete a request by the flags of a YAML file; typed flags take precedence."""
    from Utils.config.yaml_file import read_flags

    words = read_flags(path)
    try:
        defaults = parse_words(words)
    except UserError as error:
        raise UserError(f"--config={path}: {error}") from error
    if defaults.is_given("config"):
        raise UserError(f"--config={path} cannot name another file")
    return request.completed_by(defaults, INSTEAD)


def carry_out(request: Request) -> int:
    """Print lists, or prune and train, as a single process or as one of several."""
    command, request = request.split(Command)
    if command.list is not None:
        if request.values:
            raise UserError(f"--list runs nothing, so --{next(iter(request.values))} has no effect; leave it out")
        print(as_text(command.list))
        return 0
    if command.dry_run and command.status:
        raise UserError("--dry_run and --status exclude each other; give one of them")
    from Utils.distributed.process_group import is_first, process_group

    options = EXPERIMENTS[request.values.get("experiment", Settings().run.experiment)].options
    base = Settings(options=options and options()).with_values(**request.single())
    with process_group(base.machine.device):
        if is_first():
            return prune_and_train(base, request, command)
        warnings.showwarning = lambda *_: None
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            return prune_and_train(base, request, command)


def prune_and_train(base: Settings, request: Request, command: Command) -> int:
    """Resolve the request, then execute its runs, or report their state with `--status` or `--dry_run`."""
    from Experiments.common.masks_for_run import scores_key
    from Experiments.planning.make_executor import executor_factory
    from Experiments.planning.resolve import baseline, resolve_all
    from Utils.campaign.campaign import Campaign
    from Utils.campaign.run_state import RunStates
    from Utils.campaign.tensorboard import TensorBoardWriter
    from Utils.data.dataset import is_found
    from Utils.distributed.process_group import agree, first_alone
    from Utils.machine import pick_device
    from Utils.results.store import Store

    if base.machine.launcher == "local":
        pick_device(base.machine.device)
    is_report = command.dry_run or command.status
    runs = resolve_all(base, request, agree(lambda: choose_data(base, request, may_download=not is_report)))
    store = Store(base.run.out_path)
    module = EXPERIMENTS[base.run.experiment].module
    experiment: Any = import_module(module)
    states = RunStates(experiment, store, base.run.retry_failed)
    if is_report:
        from Experiments.planning.status import dry_run, status

        available = [settings for settings in runs if is_found(settings.run.data or "", settings.run.path_to_data)]
        if command.dry_run:
            check_inputs(available)
        say(dry_run(states, runs, available) if command.dry_run else status(states, runs))
        return 0
    to_do = states.to_do(runs)
    if base.run.save and to_do:
        store.check_writable()
    first_alone(lambda: check_inputs(to_do))
    executor = executor_factory(base.machine, module, to_do)
    writer = None if base.machine.tensorboard is None else TensorBoardWriter(base.machine.tensorboard)
    describe = partial(report, store, len(runs))
    return 1 if Campaign(states, runs, baseline, say, describe, scores_key, executor, writer).run() else 0


def choose_data(base: Settings, request: Request, may_download: bool) -> dict[str, str]:
    """The data set of each architecture of a request; warns of a fallback."""
    from Utils.data.dataset import choose

    chosen = {}
    for name in request.values.get("architecture", [base.run.architecture]):
        default, is_given = architecture(name).data, request.is_given("path_to_data")
        chosen[name], warning = choose(base.run.data, default, base.run.path_to_data, is_given, may_download)
        if warning:
            warnings.warn(warning, stacklevel=2)
    return chosen


def check_inputs(runs: Sequence[Settings]) -> None:
    """Read data and build networks once, so that a mistake is one error before all runs, not an error in each run."""
    from torch import device

    from Experiments.common.network import initial_model, load_data

    inputs = (
        "architecture", "data", "image_size", "mean", "std", "validation", "weights_key", "masks_key",
        "pretrained", "dense_classifier", "prune_bias", "prune_batchnorm", "prune_residual",
    )  # fmt: skip
    by_inputs: dict[tuple, dict[str, Settings]] = {}
    for settings in runs:
        by_inputs.setdefault(tuple(map(settings.values().get, inputs)), {})[settings.pruning.pruner] = settings
    for by_pruner in by_inputs.values():
        settings = next(iter(by_pruner.values()))
        model = initial_model(settings, load_data(settings, device("cpu")))
        for name in by_pruner.keys() - {DENSE}:
            make_pruner(name).check(model)


def say(text: str) -> None:
    """Print without buffering, also into a file or a pipe; a closed pipe does not stop the runs."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def report(store: "Store", count: int, settings: Settings, row: "DataFrame", layers: "DataFrame") -> str:
    """Result of one of `count` runs; if these are few, with the size of the pruned network."""
    from Utils.sparsity.size_report import size_report

    result = row.iloc[0]
    place = f"  {store.folder(settings)}" if settings.run.save else "  not kept (--save=0)"
    if result["error"]:
        return f"{settings.title()}: FAILED, {result['error']}\n{place}"
    accuracy = f"{settings.title()}: top-1 {result['top1']:.4f}, best {result['best_top1']:.4f}"
    if count > FEW:
        kept = f"kept {result['kept_direct']} of {result['prunable']} weights, {result['kept_effective']} effective"
        return f"{accuracy}, {kept}"
    pruning_type = settings.pruning.pruning_type
    is_far = pruning_type == "effective" and result["kept_effective"] > FAR * result["target_kept"]
    reason = ", the nearest that is reachable: one weight less leaves too few" if is_far else ""
    return (
        f"{accuracy}\n"
        f"  kept {result['kept_direct']} of {result['prunable']} weights (direct compression "
        f"{result['direct_compression']:.4g}), {result['kept_effective']} effective (effective compression "
        f"{result['effective_compression']:.4g}); target {result['target_kept']} {pruning_type}{reason}\n"
        f"{size_report(layers, int(result['parameters']), int(result['macs']))}\n"
        f"  pruned in {result['prune_seconds']:.2f} s, trained in {result['train_seconds']:.3g} s\n{place}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
