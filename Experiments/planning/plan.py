"""Plan of a request: its resolved runs, the runs that they need, and what their execution must know of each."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from Experiments.common.masks_for_run import scores_key
from Experiments.common.network import initial_model, load_data
from Experiments.planning.resolve import baseline, needs_of, resolve_all
from Experiments.registry import EXPERIMENTS
from Models.registry import architecture
from Pruners import make_pruner
from Utils.campaign.plan import Plan, PlannedRun
from Utils.config.choices import DENSE
from Utils.config.parser import Request
from Utils.config.settings import Settings
from Utils.data.dataset import choose
from Utils.machine import pick_device

_INPUTS = (
    "architecture", "data", "image_size", "mean", "std", "validation", "weights_key", "masks_key",
    "pretrained", "dense_classifier", "prune_bias", "prune_batchnorm", "prune_residual",
)  # fmt: skip
"""Settings that decide which data and which network a run starts with."""


def plan(request: Request, may_download: bool = True) -> Plan:
    """The runs of a request, in order. Warns if a data set is replaced; raises `UserError` for an invalid request."""
    experiment = EXPERIMENTS[request.values.get("experiment", Settings().run.experiment)]
    base = experiment.default_settings().with_values(**request.single())
    if base.machine.launcher == "local":
        pick_device(base.machine.device)
    planner = _Planner()
    runs = [planner.planned(run) for run in resolve_all(base, request, _choose_data(base, request, may_download))]
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
        return PlannedRun(settings, implementation, self._baseline(settings), needs)

    def _baseline(self, settings: Settings) -> Settings:
        run = settings.run
        key = run.experiment, run.architecture, run.data, run.path_to_data, settings.training.validation
        if key not in self.baselines:
            self.baselines[key] = baseline(settings)
        return self.baselines[key]


def _choose_data(base: Settings, request: Request, may_download: bool) -> dict[str, str]:
    """The data set of each architecture of a request; warns of a fallback."""
    chosen = {}
    for name in request.values.get("architecture", [base.run.architecture]):
        default, is_given = architecture(name).data, request.is_given("path_to_data")
        chosen[name], warning = choose(base.run.data, default, base.run.path_to_data, is_given, may_download)
        if warning:
            warnings.warn(warning, stacklevel=2)
    return chosen


def check_inputs(runs: Sequence[PlannedRun]) -> None:
    """Read data and build networks once, so that a mistake is one error before all runs, not an error in each run."""
    by_inputs: dict[tuple, dict[str, Settings]] = {}
    for run in runs:
        values = run.settings.values()
        by_inputs.setdefault(tuple(map(values.get, _INPUTS)), {})[values["pruner"]] = run.settings
    for by_pruner in by_inputs.values():
        settings = next(iter(by_pruner.values()))
        model = initial_model(settings, load_data(settings, torch.device("cpu")))
        for name in by_pruner.keys() - {DENSE}:
            make_pruner(name).check(model)
