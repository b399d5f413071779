"""Prune networks, train them, and keep what they reach.

    python main.py --pruner=snip --target_sparsity=0.99 --pruning_type=effective

Every combination of list-valued flags is a run. Complete runs are skipped, so the same command goes on where it was
interrupted.
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


_OTHERS_WAIT = 10
"""Seconds."""

FEW = 10
"""Networks that are told of in full."""

FAR = 1.05
"""Times the target, from which on effective weights are more than was asked for."""

INSTEAD = {"target_sparsity": "com_exp", "com_exp": "target_sparsity", "iterations": "epochs", "epochs": "iterations"}
"""What a file says the one of is forgotten if the other is typed."""


def main(arguments: Sequence[str]) -> int:
    """Carry out a command line; returns the exit status: 0, 1 if runs failed, 2 for a request that is wrong."""
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    try:
        return carry_out(read(arguments))
    except UserError as error:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            # Of several processes that train one network, the first says what all met, and its end is the end of all.
            time.sleep(_OTHERS_WAIT)
        print(f"main.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nmain.py: interrupted; complete runs are kept, the same command goes on from there", file=sys.stderr)
        return 130


def read(arguments: Sequence[str]) -> Request:
    """Read the command line; names are checked against the registries before PyTorch is loaded."""
    own = {name: entry.options for name, entry in EXPERIMENTS.items() if entry.options is not None}
    groups = [*GROUPS.values(), *own.values(), Command]

    def understood(words: Sequence[str]) -> Request:
        return parse(words, groups, valid_names(), "main.py", (__doc__ or "").split("\n")[0])

    request = understood(arguments)
    if request.is_given("config"):
        request = with_config(request, request.values["config"], understood)
    chosen = request.values.get("experiment", Settings().run.experiment)
    known = {item.name for group in (*GROUPS.values(), Command, own.get(chosen)) if group for item in fields(group)}
    for flag in request.values.keys() - known:
        homes = [name for name, group in own.items() if flag in {item.name for item in fields(group)}]
        raise UserError(f"--{flag} has no effect with --experiment={chosen}; it belongs to {' and '.join(homes)}")
    return request


def with_config(request: Request, path: str, understood: Callable[[Sequence[str]], Request]) -> Request:
    """What was typed, and what a file says of all else."""
    from Utils.config.yaml_file import read_flags

    typed = read_flags(path)
    try:
        given = understood(typed)
    except UserError as error:
        raise UserError(f"--config={path}: {error}") from error
    if given.is_given("config"):
        raise UserError(f"--config={path} cannot name another file")
    return request.completed_by(given, INSTEAD)


def carry_out(request: Request) -> int:
    """Print what there is, or prune and train, alone or as one of several processes."""
    command, request = request.split(Command)
    if command.list is not None:
        if request.values:
            raise UserError(f"--list runs nothing, so --{next(iter(request.values))} has no effect; leave it out")
        print(as_text(command.list))
        return 0
    if command.dry_run and command.status:
        raise UserError("--dry_run and --status are different questions; ask one of them")
    from Utils.distributed.process_group import is_first, process_group

    own = EXPERIMENTS[request.values.get("experiment", Settings().run.experiment)].options
    base = Settings(options=own and own()).with_values(**request.single())
    with process_group(base.machine.device):
        if is_first():
            return prune_and_train(base, request, command)
        warnings.showwarning = lambda *_: None
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            return prune_and_train(base, request, command)


def prune_and_train(base: Settings, request: Request, command: Command) -> int:
    """Decide every value, then prune and train or say what is done and what would be."""
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
    asks = command.dry_run or command.status
    runs = resolve_all(base, request, agree(lambda: choose_data(base, request, may_download=not asks)))
    store = Store(base.run.out_path)
    module = EXPERIMENTS[base.run.experiment].module
    experiment: Any = import_module(module)
    states = RunStates(experiment, store, base.run.retry_failed)
    if asks:
        from Experiments.planning.status import dry_run, status

        found = [settings for settings in runs if is_found(settings.run.data or "", settings.run.path_to_data)]
        if command.dry_run:
            check_inputs(found)
        say(dry_run(states, runs, found) if command.dry_run else status(states, runs))
        return 0
    to_do = states.to_do(runs)
    if base.run.save and to_do:
        store.check_writable()
    first_alone(lambda: check_inputs(to_do))
    executor = executor_factory(base.machine, module, to_do)
    board = None if base.machine.tensorboard is None else TensorBoardWriter(base.machine.tensorboard)
    finished = partial(report, store, len(runs))
    return 1 if Campaign(states, runs, baseline, say, finished, scores_key, executor, board).run() else 0


def choose_data(base: Settings, request: Request, may_download: bool) -> dict[str, str]:
    """The data set of each architecture of a request."""
    from Utils.data.dataset import choose

    chosen = {}
    for name in request.values.get("architecture", [base.run.architecture]):
        own, is_given = architecture(name).data, request.is_given("path_to_data")
        chosen[name], warning = choose(base.run.data, own, base.run.path_to_data, is_given, may_download)
        if warning:
            warnings.warn(warning, stacklevel=2)
    return chosen


def check_inputs(runs: Sequence[Settings]) -> None:
    """Read the data and build the networks of runs, so that a mistake is one error before all, not one in each."""
    from torch import device

    from Experiments.common.network import initial_model, load_data

    inputs = (
        "architecture", "data", "image_size", "mean", "std", "validation", "weights_key", "masks_key",
        "pretrained", "dense_classifier", "prune_bias", "prune_batchnorm", "prune_residual",
    )  # fmt: skip
    alike: dict[tuple, dict[str, Settings]] = {}
    for settings in runs:
        alike.setdefault(tuple(map(settings.values().get, inputs)), {})[settings.pruning.pruner] = settings
    for by_pruner in alike.values():
        settings = next(iter(by_pruner.values()))
        model = initial_model(settings, load_data(settings, device("cpu")))
        for name in by_pruner.keys() - {DENSE}:
            make_pruner(name).check(model)


def say(text: str) -> None:
    """Print at once, also into a file or a pipe; runs go on if nobody reads any more."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def report(store: "Store", count: int, settings: Settings, row: "DataFrame", layers: "DataFrame") -> str:
    """What one of so many runs reached and, of a few, how much smaller its network became."""
    from Utils.sparsity.size_report import size_report

    found = row.iloc[0]
    place = f"  {store.folder(settings)}" if settings.run.save else "  not kept (--save=0)"
    if found["error"]:
        return f"{settings.title()}: FAILED, {found['error']}\n{place}"
    reached = f"{settings.title()}: top-1 {found['top1']:.4f}, best {found['best_top1']:.4f}"
    if count > FEW:
        kept = f"kept {found['kept_direct']} of {found['prunable']} weights, {found['kept_effective']} effective"
        return f"{reached}, {kept}"
    jumps = settings.pruning.pruning_type == "effective" and found["kept_effective"] > FAR * found["target_kept"]
    jump = ", where its order jumps: one weight less leaves fewer" if jumps else ""
    return (
        f"{reached}\n"
        f"  kept {found['kept_direct']} of {found['prunable']} weights (direct compression "
        f"{found['direct_compression']:.4g}), {found['kept_effective']} effective (effective compression "
        f"{found['effective_compression']:.4g}); target {found['target_kept']} {settings.pruning.pruning_type}{jump}\n"
        f"{size_report(layers, int(found['parameters']), int(found['macs']))}\n"
        f"  pruned in {found['prune_seconds']:.2f} s, trained in {found['train_seconds']:.3g} s\n{place}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
