"""Every flag in every experiment: it changes the key and the result of a run, or it is refused."""

import hashlib
import warnings
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import runs
from conftest import ROOT
from every_flag import CONTEXTS, ELSEWHERE, NEEDS, OPTIONS, RARE, SLIGHT, VALUES, WITHOUT_EFFECT
from settings import slow_unless, trains

from Experiments.planning.resolve import needs_of
from Experiments.registry import EXPERIMENTS
from Layers import Masks, prunable
from Models import build
from Utils.campaign.campaign import run_campaign
from Utils.campaign.plan import Plan, PlannedRun
from Utils.config.fields import flag_fields
from Utils.config.groups import GROUPS
from Utils.config.settings import Settings
from Utils.errors import UserError
from Utils.results.artifacts import Artifact, Need, artifact_of, read_artifact
from Utils.results.folders import find_run
from Utils.results.outcome import Outcome
from Utils.results.store import Store
from Utils.training.context import RunContext

SMALL = f"{ROOT / 'tests' / 'own' / 'small_network.py'}:small"
BASE = f"--data=digits --architecture={SMALL} --image_size=8 --threads=1"
RESULTS = Path("Results")
TRAINING = "--iterations=8 --evaluate_every=4"


def options_of(name: str) -> set[str]:
    """The names of an experiment's own flags."""
    experiment = EXPERIMENTS[name]
    return {item.name for item in flag_fields(experiment.Options)} if experiment.Options else set()


COMMON = {
    item.name for group in GROUPS.values() for item in fields(group)
    if item.metadata["flag"] and (item.metadata["identity"] or item.metadata["many"])
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def files(tmp_path_factory):
    """A checkpoint, two pruned ones and masks of the small network, in the working directory."""
    folder = tmp_path_factory.mktemp("files")
    generator = torch.Generator().manual_seed(5)
    model = build(SMALL, (1, 8, 8), 10, generator=generator)
    weights = {name: value for name, value in model.state_dict().items() if "mask" not in name}
    torch.save(weights, folder / "weights.pt")
    for name in ("first", "second"):
        draws = {key: torch.randn(value.shape, generator=generator) for key, value in weights.items()}
        pruned = {key: draw * (draw.abs() > 0.4) if draw.dim() > 1 else weights[key] for key, draw in draws.items()}
        torch.save(pruned, folder / f"{name}.pt")
    masks = {name: torch.rand(mask.shape, generator=generator) < 0.7 for name, (_, mask) in prunable(model).items()}
    Masks(masks).save(folder / "masks.safetensors")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(folder)
        yield


def words_of(name: str, *parts: str) -> list[str]:
    """The words of a command in a context, the first part: later parts replace flags of earlier ones.

    A context that sets options has no others, and nothing asks for steps without training.
    """
    is_trained = trains(name) and not any("--train=0" in part for part in parts)
    given = {word[2:].partition("=")[0] for word in parts[0].split()}
    options = "" if given & options_of(name) else OPTIONS.get(name, "")
    line = " ".join([f"--experiment={name}", BASE, TRAINING * is_trained, options, *parts])
    return list({word.partition("=")[0]: word for word in line.split()}.values())


def planned(*words: str) -> Settings | str:
    """The run of a command, or the error that refuses it."""
    try:
        (settings,) = runs(*words)
    except UserError as error:
        return str(error)
    return settings


def store(needs: list[Need]) -> dict[str, Artifact]:
    """The tables of runs, which are stored in the working directory, each once; an error if one is refused."""
    runs = [PlannedRun(need.settings, EXPERIMENTS[need.settings.run.experiment].implementation, need.settings)
            for need in needs]  # fmt: skip
    if runs and run_campaign(Plan(tuple(runs)), Store(RESULTS)):
        raise UserError("a network is refused")
    return {need.name: read_artifact(find_run(RESULTS, need.settings.key())[0], "tables") for need in needs}


@cache
def executed(settings: Settings) -> Outcome | str:
    """The result of a run without files, or the error that refuses it; runs whose tables it reads are stored."""
    module, function = EXPERIMENTS[settings.run.experiment].implementation.split(":")
    try:
        needs = needs_of(settings)
        outcomes = [(need, executed(need.settings)) for need in needs if need.kind != "tables"]
        inputs = {need.name: artifact_of(outcome, need) for need, outcome in outcomes if isinstance(outcome, Outcome)}
        inputs |= store([need for need in needs if need.kind == "tables"])
        return getattr(import_module(module), function)(settings, inputs, RunContext())
    except UserError as error:
        return str(error)


def digest(outcome: Outcome) -> str:
    """A hash of all that a run found out, except for seconds and names of its settings."""
    content: list[Any] = [(name, value) for name, value in sorted(outcome.weights.items())]
    content += [(name, value) for name, value in sorted((outcome.masks or {}).items())]
    tables = {**outcome.tables, "layers": outcome.layers, "training": outcome.training}
    content += [(name, tables[name].drop(columns="seconds", errors="ignore").to_csv()) for name in sorted(tables)]
    content += [("attachments", sorted(outcome.attachments))]
    told = ("prune_seconds", "train_seconds", "arm", "grow")
    content += [(name, value) for name, value in sorted(outcome.summary.items()) if name not in told]
    texts = [value.numpy().tobytes() if isinstance(value, torch.Tensor) else str(value) for _, value in content]
    return hashlib.sha256(repr(texts).encode()).hexdigest()


def pairs(context: str) -> list[tuple[str, str]]:
    """Each experiment that a context suits, with each of its flags that the context leaves open."""
    given = {word[2:].partition("=")[0] for word in context.split()}
    own = {name: options_of(name) for name in EXPERIMENTS}
    return [
        (name, flag)
        for name in EXPERIMENTS
        if given <= COMMON | own[name]
        for flag in sorted(COMMON | own[name])
        if flag not in given | ELSEWHERE and (flag != "train" or trains(name))
    ]


def compared(name: str, context: str, flag: str) -> tuple[Settings | str, Settings | str]:
    """A run of an experiment in a context, without and with a flag."""
    given = {word.partition("=")[0] for word in context.split()}
    need = " ".join(word for word in NEEDS.get(flag, "").split() if word.partition("=")[0] not in given)
    return planned(*words_of(name, context, need)), planned(*words_of(name, context, need, f"--{flag}={VALUES[flag]}"))


def test_every_flag_has_a_value_to_try():
    own = set().union(*map(options_of, EXPERIMENTS))
    assert VALUES.keys() == COMMON | own and NEEDS.keys() <= VALUES.keys()


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_flag_changes_the_key_or_is_refused(context):
    tried = 0
    for name, flag in pairs(context):
        before, after = compared(name, context, flag)
        if isinstance(after, str):
            assert f"--{flag}" in after or isinstance(before, str), (name, flag, after)
        elif isinstance(before, Settings):
            assert before.key() != after.key(), (name, flag)
            tried += 1
    assert tried > 10


def test_the_flags_without_effect_by_experiment():
    refused: dict[str, set[str]] = {name: set() for name in EXPERIMENTS}
    for name, flag in pairs(""):
        if isinstance(compared(name, "", flag)[1], str):
            refused[name].add(flag)
    assert refused == WITHOUT_EFFECT


CONTRADICTIONS = [
    ("--experiment=dynamic --pruner=dense", "--experiment has no effect on pruner dense, which prunes nothing; leave"),
    ("--experiment=gradual --pruner=dense", "--experiment has no effect on pruner dense"),
    ("--experiment=multishot --pruner=dense", "--experiment has no effect on pruner dense"),
    ("--experiment=union-mask --arm=vanilla --pruner=dense", "--experiment has no effect on pruner dense"),
    ("--experiment=union-mask --lr_schedule=cyclic --pruner=dense", "--experiment has no effect on pruner dense"),
    ("--pruner=dense --target_sparsity=0.5", "--target_sparsity has no effect on pruner dense"),
    ("--pruner=dense --com_exp=1", "--com_exp has no effect on pruner dense"),
    ("--pruner=dense --pruning_type=effective", "--pruning_type has no effect on pruner dense"),
    ("--pruner=magnitude --prune_iterations=3", "on pruner magnitude, whose order no round changes; leave it out"),
    ("--pruner=lamp --prune_iterations=3 --schedule=linear", "on pruner lamp, whose order no round changes"),
    ("--lr_drops= --lr_drop_rate=0.5", "--lr_drop_rate has no effect without --lr_drops; leave it out"),
    ("--experiment=multishot --train=0 --rewind=lr", "--rewind has no effect with --train=0"),
    ("--experiment=multishot --train=0 --pre_iterations=3", "--pre_iterations has no effect with --train=0"),
    (
        "--experiment=multishot --pruner=dense --masks_from=masks.safetensors --reinitialize",
        "no effect on pruner dense",
    ),
    ("--experiment=train-then-prune --train=0 --keep_best=0", "--keep_best has no effect with --train=0"),
    ("--experiment=train-then-prune --train=0 --l1_reg=1", "--l1_reg has no effect with --train=0"),
    ("--experiment=gradual --end_step=0 --carry_mask", "--carry_mask has no effect with --start_step equal to --end"),
    ("--experiment=gradual --end_step=0 --ramp=cubic", "--ramp=cubic needs --start_step before --end_step"),
    ("--architecture=fc --batchnorm=batch", "--batchnorm has no effect on fc, which has no batch normalisation; leave"),
    ("--architecture=union/vgg11 --batchnorm=batch", "--batchnorm has no effect on union/vgg11, which has no batch"),
    ("--reinitialize --pruner=random --weights_from=weights.pt", "on pruner random, which scores no weights; leave"),
    ("--experiment=dynamic --iterations=60 --exchange_every=50", "leaves no exchange before step 45, which is --end"),
]


@pytest.mark.parametrize(("line", "message"), CONTRADICTIONS, ids=[line for line, _ in CONTRADICTIONS])
def test_a_contradiction_is_one_clear_line(line, message):
    network = [] if "--architecture" in line else [f"--architecture={SMALL}"]
    answer = planned("--data=digits", *network, *line.split())
    assert isinstance(answer, str) and message in answer and "\n" not in answer


@pytest.mark.parametrize(("line", "count"), [
    ("--experiment=dynamic --pruner dense random --target_sparsity 0.5 0.9 --grow gradient random", 1 + 4),
    ("--experiment=union-mask --arm union vanilla --pruner dense random --cycles 2 3", 3 + 3),
    ("--pruner magnitude snip --prune_iterations 2 3 --schedule linear exponential", 1 + 4),
    ("--pruner dense snip --pruning_type direct effective --effective_type exact graph", 1 + 3),
    ("--experiment multishot --pruner dense snip --levels 1 2", 1 + 2),
])  # fmt: skip
def test_a_flag_that_some_runs_of_a_list_use_is_fine(line, count):
    assert len(runs("--data=digits", f"--architecture={SMALL}", *line.split())) == count


def test_what_an_experiment_ignores_leaves_no_trace_in_its_key():
    line = f"--data=digits --architecture={SMALL}".split()
    both = runs(*line, "--experiment", "singleshot", "train-then-prune", "--masks_from=masks.safetensors")
    assert both[1].key() == runs(*line, "--experiment=train-then-prune")[0].key()
    assert both[0].key() != runs(*line)[0].key()


def test_an_exchange_that_never_comes_is_told_of():
    with pytest.warns(UserWarning, match="--exchange_every=100 leaves no exchange before step 45"):
        runs("--data=digits", "--experiment=dynamic", "--iterations=60")


def check_results(context: str, name: str) -> None:
    for other, flag in pairs(context):
        before, after = compared(name, context, flag)
        is_compared = other == name and flag not in (RARE | SLIGHT if context else RARE)
        if not is_compared or isinstance(before, str) or isinstance(after, str):
            continue
        first, second = executed(before), executed(after)
        if isinstance(first, Outcome) and isinstance(second, Outcome):
            assert digest(first) != digest(second), f"{name} {context} --{flag}={VALUES[flag]}"


@pytest.mark.parametrize("name", slow_unless({"singleshot", "dynamic"}, EXPERIMENTS))
def test_a_flag_changes_the_result(name):
    check_results("", name)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("context", CONTEXTS[1:])
def test_a_flag_changes_the_result_in_any_context(context, name):
    check_results(context, name)
