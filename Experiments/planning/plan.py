"""Plan of a request: its resolved runs, the runs that they need, and what their execution must know of each."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import torch

from Experiments.common.network import initial_model, load_data
from Experiments.common.run_pruner import quota_options
from Experiments.common.trial import scores_key
from Experiments.planning.resolve import baseline, needs_of, resolve_all
from Experiments.registry import EXPERIMENTS
from Models.registry import architecture
from Pruners import make_pruner
from Pruners.registry import parts
from Utils.campaign.plan import Plan, PlannedRun
from Utils.config.groups import Machine, Run
from Utils.config.parser import Request
from Utils.config.resolved import DataSpec, NetworkSpec
from Utils.config.settings import Settings
from Utils.data.dataset import choose
from Utils.machine import pick_device


def plan(request: Request, may_download: bool = True) -> Plan:
    """The runs of a request, in order. Warns if a data set is replaced; raises `UserError` for an invalid request."""
    if request.values.get("launcher", Machine().launcher) == "local":
        pick_device(request.values.get("device", Machine().device))
    planner = _Planner()
    runs = [planner.planned(run) for run in resolve_all(request, _data_chooser(request, may_download))]
    return Plan(tuple(runs), tuple(planner.inputs.values()), scores_key, check_inputs)


@dataclass
class _Planner:
    """Plans runs, and the runs that they need, each once."""

    inputs: dict[str, PlannedRun] = field(default_factory=dict)
    """Runs that others need, by run key, each after those that it needs itself."""
    baselines: dict[tuple, Settings] = field(default_factory=dict)

    def planned(self, settings: Settings) -> PlannedRun:
        """A run, whose needs are planned before it."""
        needs = tuple(needs_of(settings))
        for need in needs:
            if need.settings.key() not in self.inputs:
                run = self.planned(need.settings)
                self.inputs[run.key] = run
        implementation = EXPERIMENTS[settings.run.experiment].implementation
        return PlannedRun(settings, implementation, self._baseline(settings.run, settings.training.validation), needs)

    def _baseline(self, run: Run, validation: int) -> Settings:
        key = run.experiment, run.architecture, run.data, run.path_to_data, validation
        if key not in self.baselines:
            self.baselines[key] = baseline(run, validation)
        return self.baselines[key]


def _data_chooser(request: Request, may_download: bool) -> Callable[[str, str | None], str]:
    """The function that gives the data set of an architecture and a value of `--data`; it warns of a fallback."""
    path, is_given = request.values.get("path_to_data", Run().path_to_data), request.is_given("path_to_data")

    @cache
    def chosen(network: str, name: str | None) -> str:
        data, warning = choose(name, architecture(network).data, path, is_given, may_download)
        if warning:
            warnings.warn(warning, stacklevel=2)
        return data

    return chosen


def check_inputs(runs: Sequence[PlannedRun]) -> None:
    """Read data and build networks once, so that a mistake is one error before all runs, not an error in each run."""
    pruners_of: dict[tuple[DataSpec, NetworkSpec], set[tuple[str, tuple]]] = defaultdict(set)
    for settings in (run.settings for run in runs):
        data_spec, network_spec = replace(settings.data_spec, sample=0), replace(settings.network_spec, sample=0)
        options = tuple(quota_options(settings.pruning).items())
        pruners_of[data_spec, network_spec].add((settings.pruning.pruner, options))
    for (data_spec, network_spec), pruners in pruners_of.items():
        model = initial_model(network_spec, load_data(data_spec, torch.device("cpu")))
        for name, options in pruners:
            if parts(name):
                make_pruner(name, quota_options=dict(options)).check(model)
