"""Flags in every form, and mistakes that are refused."""

import itertools
from decimal import Decimal

import pytest
from commands import runs
from hypothesis import given
from hypothesis import strategies as st

import main
from Experiments.registry import EXPERIMENTS
from Utils.config import flag_aliases
from Utils.config.flag_text import as_flags
from Utils.config.groups import GROUPS
from Utils.config.parser import Request, flag_fields
from Utils.config.settings import Settings
from Utils.errors import UserError


def read(*words: str) -> Request:
    return main.read(words)


@pytest.mark.parametrize("words", [
    ["--pruner", "snip", "synflow", "random/igq"], ["--pruner=snip", "synflow", "random/igq"],
    ["--pruner=snip,synflow,random/igq"], ["--pruner", "snip,synflow", "random/igq"],
    ["--pruner=snip,", "synflow", "--pruner=snip", "synflow", "rand/igq"],
])  # fmt: skip
def test_lists_in_every_form(words):
    assert read(*words).values["pruner"] == ["snip", "synflow", "random/igq"]


def test_flags_typed_again_replace_their_values_unless_they_name_what_is_compared():
    assert read("--sample", "0", "--sample=1", "--pruner=snip", "--pruner=rand").values["sample"] == [0, 1]
    assert read("--lr=0.1", "--lr", "0.2", "0.3", "--train", "--no-train").values == {
        "lr": [0.2, 0.3],
        "train": [False],
    }
    assert read("--workers=1", "--workers=2").values == {"workers": 2}


def test_no_drops():
    assert read("--lr_drops=").values["lr_drops"] == read("--lr_drops").values["lr_drops"] == ()
    (settings,) = runs("--lr_drops=")
    assert settings.training.lr_drops == ()


@pytest.mark.parametrize("flag", ["target_sparsity", "com_exp", "momentum"])
@pytest.mark.parametrize("zero", ["0", "-0", "0.00", "1e-999999999999", "-1e-400", "0e-999999999999"])
def test_what_is_too_small_to_tell_from_zero_is_zero(flag, zero):
    (settings,), (expected,) = runs(f"--{flag}={zero}"), runs(f"--{flag}=0")
    assert str(settings.values()[flag]) == str(expected.values()[flag]) and settings.key() == expected.key()


def test_lists_of_numbers():
    assert read("--lr_drops=10,20", "30").values["lr_drops"] == (10, 20, 30)
    assert read("--com_exp", "0.5", "1").values["com_exp"] == [Decimal("0.5"), Decimal(1)]
    assert read("--sample=0,1", "2").values["sample"] == [0, 1, 2]


@pytest.mark.parametrize(("words", "value"), [
    (["--train"], True), (["--train=1"], True), (["--train=true"], True), (["--train", "1"], True),
    (["--train=0"], False), (["--train=False"], False), (["--no-train"], False), (["--train", "0"], False),
])  # fmt: skip
def test_switches_in_every_form(words, value):
    assert read(*words).values == {"train": [value]}
    assert read(*(word.replace("train", "save") for word in words)).values == {"save": value}


@pytest.mark.parametrize(("line", "values"), [
    ("--weight-decay=0.1 --lr-drops 1 2", {"weight_decay": [0.1], "lr_drops": (1, 2)}),
    ("--dataset mnist --model lenet5 --seed 3", {"data": ["mnist"], "architecture": ["lenet5"], "sample": [3]}),
    ("--optim=adam --learning_rate=0.01 --num_valid=7", {"optimizer": ["adam"], "lr": [0.01], "validation": [7]}),
    ("--dataset=fashion --optimizer=rms", {"data": ["fashion-mnist"], "optimizer": ["rmsprop"]}),
    ("--compression 1 2 --post-epochs 5", {"com_exp": [Decimal(1), Decimal(2)], "epochs": [5]}),
    ("--final_sparsity=0.95 --output-dir=x", {"target_sparsity": [Decimal("0.95")], "out_path": "x"}),
    ("--train-batch-size 64 --result_dir y --steps 9", {"batch_size": [64], "out_path": "y", "iterations": [9]}),
    ("--no-cuda --no-train", {"device": "cpu", "train": [False]}), ("--no_train --no_save=", None),
    ("--dry-run", {"dry_run": True}), ("--no-dry-run --save=0", {"dry_run": False, "save": False}),
])  # fmt: skip
def test_flags_of_the_original_programs_and_dashes(line, values):
    if values is None:
        with pytest.raises(UserError):
            read(*line.split())
    else:
        assert read(*line.split()).values == values


def test_every_alias_leads_to_a_flag_and_hides_none():
    own = [entry.Options for entry in EXPERIMENTS.values() if entry.Options is not None]
    flags = {item.name for group in (*GROUPS.values(), *own) for item in flag_fields(group)}
    assert set(flag_aliases.FLAGS.values()) <= flags
    assert flags.isdisjoint({*flag_aliases.FLAGS, *flag_aliases.SWITCHES, *flag_aliases.GONE})


def test_the_line_of_the_original_program():
    line = "--sample=0 --architecture=lenet300100 --data=mnist --pruner=snip --target_sparsity=0.99 --train=1"
    (settings,) = runs(*line.split(), "--pruning_type=effective", "--effective_type=synflow", data="mnist")
    assert settings.pruning.target_sparsity == Decimal("0.99") and settings.pruning.effective_type == "exact"
    assert settings.training.iterations == 96_000 and settings.training.weight_decay == 1e-3


def test_defaults():
    settings = Settings()
    assert {name: value for name, value in vars(settings.run).items() if value is not None or name == "data"} == {
        "experiment": "singleshot", "architecture": "lenet300100", "pretrained": False, "dense_classifier": False,
        "data": None, "path_to_data": "Data", "sample": 0, "experiment_revision": 0,
        "out_path": "Results", "save": True, "save_predictions": False, "overwrite": False, "retry_failed": False,
    }  # fmt: skip
    assert (settings.pruning.pruner, settings.pruning.pruning_type) == ("snip", "direct")
    assert settings.pruning.target_sparsity == Decimal("0.9") and settings.training.train is True


@pytest.mark.parametrize("word", ["--help", "-h"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_help_names_every_flag_and_choice_of_the_chosen_experiment(word, name, capsys):
    with pytest.raises(SystemExit) as exit_:
        read(f"--experiment={name}", word)
    text = capsys.readouterr().out
    assert exit_.value.code == 0
    options = {other: {item.name: item for item in flag_fields(entry.Options)} if entry.Options else {}
               for other, entry in EXPERIMENTS.items()}  # fmt: skip
    for item in itertools.chain(*(flag_fields(group) for group in GROUPS.values()), options[name].values()):
        assert f"--{item.name}" in text and item.metadata["help"].split()[0] in text
    assert not any(f" --{option} " in text for other in options for option in options[other].keys() - options[name])
    assert "PRUNER/igq" in text and "lenet5" in text


def test_help_explains_what_flags_share_once(capsys):
    with pytest.raises(SystemExit):
        read("--experiment", "gradual", "dynamic", "--help")
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("--no-") == 1 and "A switch is written --flag, --flag=0, --flag=1 or --no-flag." in text
    assert "the opposite" not in text and "--grow NAME ..." in text and "--ramp NAME ..." in text


def test_a_shared_option_is_explained_by_the_chosen_experiment(capsys):
    for name, meaning, default in (("dynamic", "exchanges end", "0.75"), ("gradual", "target is reached", "0.5")):
        with pytest.raises(SystemExit):
            read("--experiment", name, "--help")
        text = " ".join(capsys.readouterr().out.split())
        assert f"{meaning}, as a fraction of the run (default: {default})" in text


BAD = [
    ("--pruner=snp", "unknown pruner 'snp'; did you mean 'snip'? (valid: dense, random, mag"),
    ("--pruner=random/erg", "did you mean 'erk'? (valid: global, uniform, uniform_plus, erk, igq"),
    (
        "--architecture=lenet300",
        "unknown architecture 'lenet300'; did you mean 'lenet300100'? (see python main.py --list architectures)",
    ),
    ("--data=minst", "unknown data set 'minst'; did you mean 'mnist'?"),
    ("--experiment=single", "unknown experiment 'single'; did you mean 'singleshot'? (valid: anatomy, compare"),
    (
        "--pruning_type=efective",
        "unknown value of --pruning_type 'efective'; did you mean 'effective'? (valid: direct",
    ),
    ("--effective_type=exakt", "did you mean 'exact'? (valid: exact, graph)"),
    ("--optimizer=sdg", "did you mean 'sgd'?"),
    ("--device=gpu", "unknown value of --device 'gpu'"),
    ("--target_sparsity=1", "--target_sparsity must be at least 0 and less than 1, not 1"),
    ("--target_sparsity=-0.5", "--target_sparsity must be at least 0 and less than 1, not -0.5"),
    ("--target_sparsity=99", "--target_sparsity must be at least 0 and less than 1, not 99"),
    ("--target_sparsity=nan", "--target_sparsity must be a finite number, not 'nan'"),
    ("--target_sparsity=high", "--target_sparsity must be a finite number, not 'high'"),
    ("--target_sparsity 0.5 0.9 1.1", "--target_sparsity must be at least 0 and less than 1, not 1.1"),
    ("--target_density=10", "--target_density must be a fraction, greater than 0 and at most 1 (for 10 percent write"),
    ("--target_density=0", "at most 1 (for 10 percent write 0.1), not 0"),
    ("--target_density=-0.1", "at most 1 (for 10 percent write 0.1), not -0.1"),
    ("--target_density 0.5 1 1.1", "at most 1 (for 10 percent write 0.1), not 1.1"),
    ("--target_density=1e-999999999999", "at most 1 (for 10 percent write 0.1), not 0"),
    ("--target_density=nan", "--target_density must be a finite number, not 'nan'"),
    ("--target_density=0.1 --com_exp=1", "--target_density and --com_exp both set the target; give one of them"),
    ("--target_density=0.1 --target_sparsity=0.9", "--target_density and --target_sparsity both set the target; give"),
    ("--pruner=dense --target_density=0.1", "--target_density has no effect on pruner dense, which prunes nothing"),
    ("--experiment=train-then-prune --target_density=0.1", "--target_density has no effect with --experiment=train-t"),
    ("--target_desnity=0.1", "unknown flag --target_desnity; did you mean --target_density?"),
    ("--com_exp=-1", "--com_exp must be between 0 and 300, not -1"),
    ("--com_exp -1", "--com_exp must be between 0 and 300, not -1"),
    ("--com_exp=inf", "--com_exp must be a finite number, not 'inf'"),
    ("--sample=-1", "--sample must be at least 0, not -1"),
    ("--sample=a", "--sample must be a whole number, not 'a'"),
    ("--sample=1.5", "--sample must be a whole number, not '1.5'"),
    ("--train=maybe", "--train must be 0 or 1, not 'maybe'"),
    ("--no-train=1", "--no-train: ignored explicit argument '1'"),
    ("--lr=0", "--lr must be greater than 0, not 0.0"),
    ("--lr=nan", "--lr must be a finite number, not 'nan'"),
    ("--lr=fast", "--lr must be a finite number, not 'fast'"),
    ("--lr", "--lr needs a value"),
    ("--lr=", "--lr needs a value"),
    ("--pruner=", "--pruner needs a value"),
    ("--pruner", "--pruner needs a value"),
    ("--lr_drops=20,10", "--lr_drops must be rising and at least 1, not 20,10"),
    ("--lr_drop_rate=2", "--lr_drop_rate must be greater than 0 and at most 1, not 2.0"),
    ("--momentum=1", "--momentum must be at least 0 and less than 1, not 1.0"),
    ("--batch_size=0", "--batch_size must be at least 2, for batch normalisation, not 0"),
    ("--iterations=-5", "--iterations must be at least 0, not -5"),
    ("--validation=-1", "--validation must be at least 0, not -1"),
    ("--prune_examples=0", "--prune_examples must be at least 2, for batch normalisation, not 0"),
    ("--evaluate_every=0", "--evaluate_every must be greater than 0, not 0"),
    ("--batchnorm=none", "(valid: batch, running)"),
    ("--augmentation=rotate", "did you mean 'rotation'?"),
    ("--prune=snip", "unknown flag --prune; did you mean --pruner? (see --help)"),
    ("--gpu=0", "there is no flag --gpu: choose one with the variable CUDA_VISIBLE_DEVICES"),
    ("--gpuss=0", "unknown flag --gpuss; did you mean --gpus?"),
    ("-x", "unknown flag -x"),
    ("snip", "'snip' belongs to no flag; see --help"),
    ("--no-train 0", "'0' belongs to no flag"),
    ("--no-lr", "unknown flag --no-lr; did you mean --lr? (see --help)"),
    ("--epochs=--", "--epochs must be a whole number, not '--'"),
    ("--pruner=-x", "unknown pruner '-x'"),
    ("--epochs=1 --iterations=5", "--epochs and --iterations both set the length of training"),
    (
        "--pruner=random --prune_examples=5",
        "--prune_examples has no effect on pruner random, which scores",
    ),
    ("--effective_type=graph", "--effective_type has no effect without pruning to an effective target"),
    ("--pruner=dense --effective_type=graph --pruning_type=effective", "--effective_type has no effect"),
    ("--train=0 --lr=0.1", "--lr has no effect with --train=0"),
    ("--train=0 --epochs=1", "--epochs has no effect with --train=0"),
    ("--optimizer=nesterov --momentum=0", "--optimizer=nesterov needs a --momentum greater than 0"),
    ("--train=0 --pruner=random --batch_size=5", "--batch_size has no effect with --train=0"),
    ("--prune_examples=1438", "--prune_examples=1438 is more than the 1437 training images"),
    ("--validation=1437", "--validation=1437 must be less than the 1437 training images"),
    ("--batch_size=1000 --validation=438", "--batch_size=1000 is more than the 999 training images"),
    ("--out_path=", "--out_path needs a value"),
    ("--optimizer=adam --momentum=0.9", "--momentum has no effect with --optimizer=adam"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_mistakes_get_one_clear_line(line, message):
    with pytest.raises(UserError) as error:
        runs(*line.split())
    assert message in str(error.value) and "\n" not in str(error.value)


@given(st.dictionaries(st.sampled_from(["lr", "momentum", "weight_decay"]), st.floats(0.01, 0.9), min_size=1))
def test_values_survive_as_flags(values):
    (settings,) = runs(*as_flags(values).split())
    assert {name: settings.values()[name] for name in values} == values
