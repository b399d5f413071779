"""Anatomy: which statistics of a mask go with accuracy, where sparsity is the same.

    python main.py --experiment=anatomy --data=mnist --iterations=8000 --lr_drops 5000 7000 --workers=2
    python main.py --experiment=anatomy --data=mnist --runs experiment=singleshot iterations=8000,32000

The first command prunes and trains networks of many pruners at several effective sparsities, with controls: random
masks with the same layer densities, shuffled masks, other initial weights. The second one reads finished runs. Both
measure each mask, relate every statistic to accuracy at each level, and test published claims.

The first command takes about an hour with two processes on two cores of an AMD EPYC: 530 networks, five samples of
each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from Experiments.base import Experiment, same_run
from Experiments.singleshot import Singleshot
from Pruners.registry import CRITERIA, split_name
from Utils.config.choices import DENSE
from Utils.config.fields import AT_LEAST_ONE, Check, setting
from Utils.config.groups import Pruning, Training
from Utils.config.settings import Settings
from Utils.errors import UserError

if TYPE_CHECKING:
    from Utils.results.artifacts import Need
    from Utils.results.run_selection import StoredRun

SPARSITIES: Check = (
    lambda values: values and all(0 < value < 1 for value in values),
    "sparsities between 0 and 1 (for 99 percent write 0.99)",
)

CONTROLS = ("random", "shuffle", "reinitialize")


@dataclass(frozen=True)
class AnatomyOptions:
    """The networks that are compared (`--experiment=anatomy`)."""

    runs: tuple[str, ...] = setting(
        (), "finished runs: folders, names, patterns, and filters SETTING=VALUE (default: networks of the flags below)",
        sequence=True, identity=False, placeholder="RUN|SETTING=VALUE",
    )  # fmt: skip
    runs_key: str | None = setting(None, "hash of the keys of these runs", flag=False)
    pruners: tuple[str, ...] = setting(
        (
            "random", "random/erk", "random/igq", "random/snip", "random/synflow", "mag", "magnitude", "lamp", "snip",
            "snip_iterative", "grasp", "synflow", "fisher",
        ), "pruners to compare", choices="pruner", sequence=True,
    )  # fmt: skip
    sparsities: tuple[Decimal, ...] = setting(
        tuple(map(Decimal, ("0.9", "0.99", "0.995", "0.998", "0.999", "0.9995"))), "effective sparsities",
        kind=Decimal, sequence=True, check=SPARSITIES,
    )  # fmt: skip
    samples: int = setting(5, "number of samples", kind=int, check=AT_LEAST_ONE, many=False)
    controls: tuple[str, ...] = setting(
        CONTROLS, "controls of each pruner that scores weights: random positions in the same layer densities, shuffled "
        "masks, other initial weights; none if nothing follows", choices=CONTROLS, sequence=True,
    )  # fmt: skip
    control_sparsities: tuple[Decimal, ...] = setting(
        tuple(map(Decimal, ("0.99", "0.999"))), "effective sparsities of the controls", kind=Decimal, sequence=True,
        check=SPARSITIES,
    )  # fmt: skip
    control_samples: int = setting(3, "number of samples of the controls", kind=int, check=AT_LEAST_ONE, many=False)
    resamples: int = setting(
        2000, "resamples of the pruners for the intervals of correlations", kind=int, check=AT_LEAST_ONE, many=False
    )


class Anatomy(Experiment):
    """Relate statistics of masks to accuracy."""

    name = "anatomy"
    about = "measure the masks of many networks, relate every statistic to accuracy, and test published claims"
    implementation = "Experiments.anatomy.run:run"
    Options = AnatomyOptions
    is_study = True
    has_targets = False
    figures = ("anatomy", "anatomy-scatter")

    def resolve(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """The keys of the runs that `--runs` names, by which the study is named, too. Raises `UserError` for none."""
        from Utils.results.run_selection import runs_key

        if not settings.options.runs:
            return settings
        return settings.with_values(runs_key=runs_key(finished_runs(settings)))

    def fixed(self, settings: Settings) -> Mapping[str, Any]:
        """The study itself prunes nothing."""
        return {"pruner": DENSE, "sample": 0}

    def check(self, settings: Settings) -> None:
        """Masks must be stored and networks trained; learned masks and `dense` have no targets here."""
        if not settings.training.train:
            raise UserError("--experiment=anatomy relates masks to accuracy after training; leave --train=0 out")
        if not settings.run.save:
            raise UserError("--experiment=anatomy reads masks that are stored; leave --save=0 out")
        for name in settings.options.pruners:
            if name == DENSE:
                raise UserError(f"--pruners: {DENSE} prunes nothing; leave it out")
            split_name(name)

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """Flags of other runs, and with `--runs` all that says how a network is pruned and trained."""
        own = f"with --experiment={self.name}, which has --pruners, --sparsities and --samples"
        targets = ("pruner", "sample", "pruning_type", "target_sparsity", "target_density", "com_exp")
        reasons: dict[str, str] = dict.fromkeys((*targets, "shuffle", "reinitialize"), own)
        plain = (
            "prune_examples", "prune_train_mode", "invert", "prune_iterations", "schedule", "prune_unit",
            "compute_aware", "keep_alive", "pre_iterations", "effective_type", "draws", "active_rows", "tile",
        )  # fmt: skip
        reasons |= dict.fromkeys(plain, f"with --experiment={self.name}, whose pruners have their defaults")
        if not settings.options.runs:
            return reasons
        settled = {item.name for group in (Pruning, Training) for item in fields(group) if item.metadata["flag"]}
        settled |= {"pruners", "sparsities", "samples", "controls", "control_sparsities", "control_samples"}
        return dict.fromkeys(settled, "with --runs, which are finished") | reasons

    def needs(self, settings: Settings) -> tuple[Need, ...]:
        """The networks of the flags; none with `--runs`."""
        from Utils.results.artifacts import Need

        if settings.options.runs:
            return ()
        return tuple(Need(f"network {number}", run, "tables") for number, run in enumerate(_networks(settings)))

    def trainings(self, settings: Settings) -> int:
        """None: the networks that it needs are trained."""
        return 0


def finished_runs(settings: Settings) -> list[StoredRun]:
    """The runs that `--runs` names, of the study's architecture and data; raises `UserError` if there are none."""
    from Utils.results.run_selection import select_runs

    run = settings.run
    assert run.data is not None
    return select_runs(run.out_path, settings.options.runs, {"architecture": run.architecture, "data": run.data})


def _networks(settings: Settings) -> Iterator[Settings]:
    """Every network of the study: each pruner at each level, then its controls."""
    options = settings.options
    base = same_run(settings, Singleshot()).with_values(pruning_type="effective", com_exp=None)

    def runs(pruner: str, sparsities: Collection[Decimal], samples: int, **changes: Any) -> Iterator[Settings]:
        for sparsity in sparsities:
            for sample in range(samples):
                yield base.with_values(pruner=pruner, target_sparsity=sparsity, sample=sample, **changes)

    for pruner in options.pruners:
        yield from runs(pruner, options.sparsities, options.samples)
    scored = [name for name in options.pruners if split_name(name)[0] != "random"]
    for control in options.controls:
        for pruner in scored:
            criterion, quota = split_name(pruner)
            if control != "random":
                yield from runs(pruner, options.control_sparsities, options.control_samples, **{control: True})
            elif quota not in CRITERIA:
                yield from runs(
                    f"random/{criterion if quota == 'global' else quota}",
                    options.control_sparsities,
                    options.control_samples,
                )
