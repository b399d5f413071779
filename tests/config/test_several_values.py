"""Several values of a flag are several runs; flags of one value and flags of one list say so."""

import itertools

import pytest
from commands import QUICK, execute, runs
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import main
import visualization
from Experiments.registry import EXPERIMENTS
from Utils.config.command import Command
from Utils.config.fields import flag_fields
from Utils.config.groups import GROUPS
from Utils.errors import UserError
from Utils.figures.selection import Plot
from Utils.results import load_summaries

ONE_VALUE = {
    "path_to_data", "out_path", "save", "save_predictions", "overwrite", "retry_failed", "device", "compile", "threads",
    "launcher", "workers", "ray_address", "gpus", "checkpoint_every", "tensorboard", "dry_run", "status", "check",
    "config", "samples", "control_samples", "resamples", "report",
}  # fmt: skip
ONE_LIST = {
    "image_size", "mean", "std", "lr_drops", "lr_cycle", "k_vals", "exponents", "list", "draws", "active_rows", "tile",
    "penalty_exponents", "smart_ratio_ends", "fine_tune_lr_drops", "sanity_checks", "runs", "pruners", "sparsities",
    "controls", "control_sparsities", "files", "parts", "null_models",
}  # fmt: skip

FLAGS = {
    item.name: (name, item)
    for name, experiment in EXPERIMENTS.items()
    for group in (*GROUPS.values(), *([experiment.Options] if experiment.Options else []), Command)
    for item in flag_fields(group)
}
"""Every flag, with an experiment that has it."""


CHOICES = {
    "experiment": ("singleshot", "multishot"), "architecture": ("fc", "lenet5"), "data": ("digits", "mnist"),
    "pruner": ("snip", "dense"), "schedule": ("linear", "one-shot"),
}  # fmt: skip
TEXTS = {"rewind": ("none", "lr")}
PER_CHANNEL = {"mean", "std"}


def valid_values(item) -> list[str]:
    """Valid values of a flag: two, or three for a flag of one value per channel."""
    choices, kind = item.metadata["choices"], item.metadata["kind"]
    if choices is not None:
        return list(CHOICES[choices] if isinstance(choices, str) else choices[:2])
    if item.name in PER_CHANNEL:
        return ["0.25", "0.5", "0.75"]
    return list({bool: ("0", "1"), int: ("2", "3"), str: TEXTS.get(item.name, ("a", "b"))}.get(kind, ("0.25", "0.5")))


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_takes_several_values_or_says_what_it_takes(flag, capsys):
    experiment, item = FLAGS[flag]
    chosen = [] if flag == "experiment" else [f"--experiment={experiment}"]
    words = valid_values(item)
    forms = [[f"--{flag}", *words], [f"--{flag}={words[0]}", *words[1:]], [f"--{flag}={','.join(words)}"]]
    with pytest.raises(SystemExit):
        main.read([*chosen, "--help"])
    shown = capsys.readouterr().out
    (text,) = [" ".join(part.split()) for part in shown.split("\n  --")[1:] if part.split()[0] == flag]
    if flag in ONE_VALUE:
        # A comma is part of a path.
        for form in forms if item.metadata["kind"] is not str or item.metadata["choices"] else forms[:2]:
            with pytest.raises(UserError, match=f"^--{flag} takes one value, not 2: {words[0]}, {words[1]}$"):
                main.read([*chosen, *form])
        assert "one value" in text and "..." not in text
        return
    values = [main.read([*chosen, *form]).values[flag] for form in forms]
    assert values[0] == values[1] == values[2] and len(set(values[0])) == len(words)
    assert isinstance(values[0], tuple if flag in ONE_LIST else list) and "..." in text
    assert ("one list" in text) == (flag in ONE_LIST) and "one value" not in text


def test_every_flag_of_the_figures_takes_one_value_or_one_list():
    scalars = [item.name for item in flag_fields(Plot) if not item.metadata["sequence"]]
    assert scalars and not any(item.metadata["many"] for item in flag_fields(Plot))


AXES = {
    "lr": ("0.1", "0.01"), "momentum": ("0", "0.5", "0.9"), "pruner": ("random", "snip"), "sample": ("0", "1"),
    "shuffle": ("0", "1"), "data": ("digits", "mnist"), "batch_size": ("16", "32"),
}  # fmt: skip


@hypothesis_settings(deadline=None, max_examples=25)
@given(st.permutations(list(AXES)), st.integers(0, 4))
def test_the_product_has_each_combination_once_the_last_flag_fastest(names, count):
    axes = {name: AXES[name] for name in names[:count]}
    plans = runs(*(word for name, values in axes.items() for word in (f"--{name}", *values)))
    found = [tuple(str(settings.values()[name]) for name in axes) for settings in plans]
    spelled = {"0": {"momentum": "0.0", "shuffle": "False"}, "1": {"shuffle": "True"}}
    expected = itertools.product(*([spelled.get(v, {}).get(name, v) for v in axes[name]] for name in axes))
    assert found == list(expected) and len({settings.key() for settings in plans}) == len(plans)


def test_data_sets_keep_their_recipes():
    plans = runs("--data", "digits", "mnist", "--lr", "0.1", "0.01")
    assert [(one.run.data, one.training.lr, one.training.iterations) for one in plans] == [
        ("digits", 0.1, 1_500), ("digits", 0.01, 1_500), ("mnist", 0.1, 96_000), ("mnist", 0.01, 96_000),
    ]  # fmt: skip


def test_equal_runs_are_one():
    plans = runs("--experiment=dynamic", "--pruner", "dense", "random", "--grow", "gradient", "random", "--sample=0,1")
    assert [(one.pruning.pruner, one.run.sample) for one in plans].count(("dense", 0)) == 1
    assert len(plans) == 2 * (1 + 2)
    assert len(runs("--optimizer", "sgd", "momentum", "--momentum", "0.5", "0.9")) == 1 + 2
    plans = runs("--lr_schedule", "step", "cosine", "--lr_drops", "5", "9")
    assert [one.recipe.lr_drops for one in plans] == [(5, 9), ()]


def test_several_densities():
    plans = runs("--pruner", "dense", "random", "snip", "--target_density", "0.02", "0.05", "0.050", "--sample=0,1")
    found = [(one.pruning.pruner, str(one.pruning.target_sparsity), one.run.sample) for one in plans]
    assert len(found) == 2 * (1 + 2 * 2) and ("dense", "0", 1) in found and ("snip", "0.95", 0) in found
    assert {key.key() for key in plans} == {
        one.key() for one in runs("--pruner=dense,random,snip", "--target_sparsity", "0.95", "0.98", "--sample=1,0")
    }


def test_several_experiments_each_with_its_own_flags():
    plans = runs("--experiment", "gradual", "dynamic", "singleshot", "--grow", "gradient", "random", "--end_step=0.5")
    assert [(one.run.experiment, one.run.experiment != "singleshot" and one.options.end_step) for one in plans] == [
        ("gradual", 0.5), ("dynamic", 0.5), ("dynamic", 0.5), ("singleshot", False),
    ]  # fmt: skip
    assert plans[0].key() == runs("--experiment=gradual", "--end_step=0.5")[0].key()
    with pytest.raises(UserError, match="--ramp has no effect with --experiment=dynamic,multishot; it belongs to grad"):
        runs("--experiment", "dynamic", "multishot", "--ramp=cubic")


@pytest.mark.parametrize(("line", "message"), [
    ("--workers 2 4", "--workers takes one value, not 2: 2, 4"),
    ("--launcher=local,ray", "--launcher takes one value, not 2: local, ray"),
    ("--out_path a b c", "--out_path takes one value, not 3: a, b, c"),
    ("--dry_run 0 1", "--dry_run takes one value, not 2: 0, 1"),
    ("--lr 0.1 fast", "--lr must be a finite number, not 'fast'"),
    ("--shuffle 0 maybe", "--shuffle must be 0 or 1, not 'maybe'"),
    ("--lr_schedule constant cosine --lr_drops 5", "--lr_drops has no effect with --lr_schedule=constant; leave it"),
])  # fmt: skip
def test_mistakes_in_several_values(line, message):
    with pytest.raises(UserError) as error:
        runs(*line.split())
    assert message in str(error.value) and "\n" not in str(error.value)


def test_figures_take_one_value(capsys):
    assert visualization.main(["--num_samples", "2", "3"]) == 2
    assert "--num_samples takes one value, not 2: 2, 3" in capsys.readouterr().err


def test_the_command_line_runs_the_product(tmp_path, capsys):
    config = tmp_path / "campaign.yml"
    config.write_text("lr: [0.1, 0.01]\nshuffle: [no, yes]\npruner: random\n")
    words = [*QUICK, f"--config={config}", "--optimizer", "sgd", "momentum"]
    out = tmp_path / "out"
    assert execute(out, *words, "--dry_run") == 0
    assert "8 to do; nothing was run" in capsys.readouterr().out
    assert execute(out, *words) == 0
    rows = load_summaries(out)
    told = {tuple(word for word in text.split() if word.partition("=")[0] in ("--lr", "--optimizer", "--shuffle"))
            for text in rows["settings"]}  # fmt: skip
    assert len(rows) == len(told) == 8 and ("--optimizer=sgd", "--lr=0.01", "--shuffle=1") in {
        tuple(sorted(words, key=lambda word: "ols".index(word[2]))) for words in told
    }


def test_a_comma_in_the_path_of_a_file_is_part_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.pt", "net,1.py"):
        (tmp_path / name).touch()
    assert main.read(["--weights_from=a,b.pt"]).values["weights_from"] == ["a,b.pt"]
    assert main.read(["--weights_from", "a,b.pt", "a,c.pt"]).values["weights_from"] == ["a,b.pt", "a", "c.pt"]
    assert main.read(["--architecture=net,1.py:make"]).values["architecture"] == ["net,1.py:make"]
    assert main.read(["--out_path=no,where"]).values["out_path"] == "no,where"
