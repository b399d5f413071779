"""Comparison: how alike sparse networks are, layer by layer.

    python main.py --experiment=compare --runs pruner=snip,synflow sample=0 1 2 --report
    python main.py --experiment=compare --files mine=a.pt mine=b.pt theirs=c.safetensors --architecture=lottery/resnet20

Reads the trained weights and the masks of finished runs, or files of weights whose zeros are pruned entries. Tables are
tidy, figures are drawn from them, and `--report` writes one page with all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from Experiments.base import Experiment
from Experiments.comparison.choices import ALIGNMENTS, NULL_MODELS, PARTS, USUAL_PARTS, VARIANTS, WHEN
from Experiments.comparison.figure_kinds import FIGURE_KINDS
from Utils.config.choices import DENSE
from Utils.config.fields import AT_LEAST_ONE, AT_LEAST_TWO_POINTS, NOT_EMPTY, NOT_NEGATIVE, setting
from Utils.config.groups import Pruning, Training
from Utils.config.settings import Settings
from Utils.errors import UserError

if TYPE_CHECKING:
    from Utils.results.run_selection import StoredRun


@dataclass(frozen=True)
class ComparisonOptions:
    """The networks that are compared, and how (`--experiment=compare`)."""

    runs: tuple[str, ...] = setting(
        (), "finished runs: folders, names, patterns, and filters SETTING=VALUE",
        sequence=True, identity=False, placeholder="RUN|SETTING=VALUE",
    )  # fmt: skip
    runs_key: str | None = setting(None, "hash of the keys of these runs", flag=False)
    files: tuple[str, ...] = setting(
        (), "weights from elsewhere, whose zeros are pruned entries; files of one GROUP count as its "
        "samples",
        sequence=True, identity=False, placeholder="[GROUP=]FILE",
    )  # fmt: skip
    files_key: str | None = setting(None, "hash of the contents of these files and their groups", flag=False)
    parts: tuple[str, ...] = setting(
        USUAL_PARTS, "what is compared", choices=tuple(PARTS), sequence=True, check=NOT_EMPTY,
    )  # fmt: skip
    variant: str = setting(
        VARIANTS[0], "the definitions of distances and structure: the corrected ones, or those of the thesis",
        choices=VARIANTS,
    )  # fmt: skip
    alignment: str = setting("auto", "how the units of two networks are matched by weights", choices=tuple(ALIGNMENTS))
    swaps: int = setting(
        0, "steps of a local search after that, each of which swaps two units", kind=int, check=NOT_NEGATIVE
    )
    nulls: int = setting(
        5, "random networks of the same layer densities behind each expectation", kind=int, check=NOT_NEGATIVE
    )
    null_models: tuple[str, ...] = setting(
        NULL_MODELS[:1], "what random masks keep of a layer: in statistics of structure; of distances, the first one",
        choices=NULL_MODELS, sequence=True, check=NOT_EMPTY,
    )  # fmt: skip
    shortcuts: bool = setting(
        True, "count the layers of shortcuts of residual blocks, in densities and structure", kind=bool
    )
    images: int = setting(1000, "test images on which activations are read", kind=int, check=AT_LEAST_ONE)
    when: str = setting("after", "read activations after the nonlinearity of a layer, or before it", choices=WHEN)
    points: int = setting(11, "networks on the line between two, with its ends", kind=int, check=AT_LEAST_TWO_POINTS)
    report: bool = setting(
        False, "also write report.html, one page with all figures and tables; a study of its own", kind=bool, many=False
    )


class Comparison(Experiment):
    """Compare finished networks with each other."""

    name = "compare"
    about = "compare finished networks layer by layer: weights, activations, structure, outcomes"
    implementation = "Experiments.comparison.study.run:run"
    Options = ComparisonOptions
    is_study = True
    has_targets = False
    has_own_figures = True
    figures = ()
    own_figures = FIGURE_KINDS

    def located(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """The architecture and the data of the runs, unless flags say which.

        Raises `UserError` for runs of several, and for fewer than two networks.
        """
        from Experiments.comparison.files import named_files

        options = settings.options
        runs = compared_runs(settings, "architecture" in given) if options.runs else []
        names = [*(str(run.folder) for run in runs), *(str(file.path) for file in named_files(options.files))]
        if not names:
            raise UserError("--experiment=compare needs networks: --runs of finished runs, --files of weights, or both")
        if len(names) == 1:
            raise UserError(f"a comparison needs two networks or more, and {names[0]} is the only one; name another")
        values = {name: _only(runs, name) for name in ("architecture", "data") if runs and name not in given}
        return settings.with_values(**values)

    def resolve(self, settings: Settings, given: Collection[str] = ()) -> Settings:
        """The contents of what is compared, by which the study is named."""
        from Experiments.comparison.files import files_key, named_files
        from Utils.results.run_selection import runs_key

        options = settings.options
        values: dict[str, Any] = {
            "parts": tuple(part for part in PARTS if part in options.parts),
            "null_models": tuple(dict.fromkeys(options.null_models)),
        }
        if options.files:
            values["files_key"] = files_key(named_files(options.files))
        if options.runs:
            values["runs_key"] = runs_key(compared_runs(settings))
        return settings.with_values(**values)

    def fixed(self, settings: Settings) -> Mapping[str, Any]:
        """The study itself prunes and trains nothing."""
        return {"pruner": DENSE, "sample": 0, "train": False}

    def ignored(self, settings: Settings, lr_schedule: str) -> dict[str, str]:
        """All that says how a network is pruned and trained, and flags of parts that are left out."""
        parts = settings.options.parts
        options = settings.options
        own = f"with --experiment={self.name}, which prunes and trains nothing"
        settled = [item.name for group in (Pruning, Training) for item in fields(group) if item.metadata["flag"]]
        reasons = dict.fromkeys(["sample", *settled], own)
        kinds = ("prune_bias", "prune_batchnorm", "prune_residual")
        reasons |= dict.fromkeys(kinds, f"with --experiment={self.name}, which compares kernels")
        if options.runs:
            network = ("dense_classifier", "batchnorm", "pretrained", "image_size", "mean", "std")
            reasons |= dict.fromkeys(network, "with --runs, whose networks have theirs")
        else:
            del reasons["batchnorm"]
            reasons["pretrained"] = "with --files, which hold the weights"
        needed_by = {
            ("alignment", "swaps"): {"distances", "paths"},
            ("nulls",): {"distances", "structure"},
            ("variant",): {"distances", "structure"},
            ("null_models",): {"distances", "structure"},
            ("shortcuts",): {"densities", "structure"},
            ("images", "when"): {"activations", "pictures"},
            ("points",): {"paths"},
        }
        for names, needed in needed_by.items():
            if not needed & set(parts):
                reasons |= dict.fromkeys(names, f"without {' or '.join(sorted(needed))} in --parts")
        return reasons

    def trainings(self, settings: Settings) -> int:
        """None."""
        return 0


def compared_runs(settings: Settings, is_of_architecture: bool = True) -> list[StoredRun]:
    """The runs that `--runs` names, each once; raises `UserError` if there are none."""
    from Utils.results.run_selection import select_runs

    within = {"architecture": settings.run.architecture} if is_of_architecture else {}
    runs = select_runs(settings.run.out_path, settings.options.runs, within)
    return list({run.key: run for run in reversed(runs)}.values())[::-1]


def _only(runs: Sequence[StoredRun], name: str) -> str:
    """The architecture or the data of all runs; raises `UserError` if there are several."""
    found = sorted({str(run.values[name]) for run in runs})
    if len(found) == 1:
        return found[0]
    advice = f"add {name}={found[0]} to --runs"
    if name == "data":
        advice += f", or choose the images that all networks see with --data={found[0]}"
    raise UserError(f"--runs: the runs have several values of {name}: {', '.join(found)}; {advice}")
