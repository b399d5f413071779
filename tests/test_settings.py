"""Flags in every form, names of runs that stay, and plans that refuse what has no effect."""

import dataclasses
import itertools
from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import main
from Experiments.planning.resolve import resolve, resolve_all
from Experiments.registry import EXPERIMENTS
from Models.registry import ARCHITECTURES
from Utils.config import flag_aliases
from Utils.config.fields import setting
from Utils.config.parser import Request, flag_fields, parse
from Utils.config.recipes import lines, recipe
from Utils.config.settings import GROUPS, Settings, as_flags
from Utils.data.registry import DATASETS
from Utils.errors import UserError
from Utils.training.lr_schedules import learning_rate


def read(*words: str) -> Request:
    return main.read(words)


def runs(*words: str, data: str = "digits") -> list[Settings]:
    request = read(*words)
    base = Settings().with_values(**request.single())
    return resolve_all(base, request, dict.fromkeys(ARCHITECTURES, data))


@pytest.mark.parametrize("words", [
    ["--pruner", "snip", "synflow", "random/igq"], ["--pruner=snip", "synflow", "random/igq"],
    ["--pruner=snip,synflow,random/igq"], ["--pruner", "snip,synflow", "random/igq"],
    ["--pruner=snip,", "synflow", "--pruner=snip", "synflow", "rand/igq"],
])  # fmt: skip
def test_lists_in_every_form(words):
    assert read(*words).values["pruner"] == ["snip", "synflow", "random/igq"]


def test_repeated_lists_add_up():
    assert read("--sample", "0", "--sample=1", "--pruner=snip", "--pruner=rand").values["sample"] == [0, 1]


def test_no_drops():
    assert read("--lr_drops=").values["lr_drops"] == read("--lr_drops").values["lr_drops"] == ()
    (settings,) = runs("--lr_drops=")
    assert settings.training.lr_drops == ()


def test_lists_of_numbers():
    assert read("--lr_drops=10,20", "30").values["lr_drops"] == (10, 20, 30)
    assert read("--com_exp", "0.5", "1").values["com_exp"] == [Decimal("0.5"), Decimal(1)]
    assert read("--sample=0,1", "2").values["sample"] == [0, 1, 2]


@pytest.mark.parametrize(("words", "value"), [
    (["--train"], True), (["--train=1"], True), (["--train=true"], True), (["--train", "1"], True),
    (["--train=0"], False), (["--train=False"], False), (["--no-train"], False), (["--train", "0"], False),
])  # fmt: skip
def test_switches_in_every_form(words, value):
    assert read(*words).values["train"] is value


@pytest.mark.parametrize(("line", "values"), [
    ("--weight-decay=0.1 --lr-drops 1 2", {"weight_decay": 0.1, "lr_drops": (1, 2)}),
    ("--dataset mnist --model lenet5 --seed 3", {"data": "mnist", "architecture": ["lenet5"], "sample": [3]}),
    ("--optim=adam --learning_rate=0.01 --num_valid=7", {"optimizer": "adam", "lr": 0.01, "validation": 7}),
    ("--dataset=fashion --optimizer=rms", {"data": "fashion-mnist", "optimizer": "rmsprop"}),
    ("--compression 1 2 --post-epochs 5", {"com_exp": [Decimal(1), Decimal(2)], "epochs": 5}),
    ("--final_sparsity=0.95 --output-dir=x", {"target_sparsity": [Decimal("0.95")], "out_path": "x"}),
    ("--train-batch-size 64 --result_dir y --steps 9", {"batch_size": 64, "out_path": "y", "iterations": 9}),
    ("--no-cuda --no-train", {"device": "cpu", "train": False}), ("--no_train --no_save=", None),
    ("--dry-run", {"dry_run": True}), ("--no-dry-run --save=0", {"dry_run": False, "save": False}),
])  # fmt: skip
def test_flags_of_the_original_programs_and_dashes(line, values):
    if values is None:
        with pytest.raises(UserError):
            read(*line.split())
    else:
        assert read(*line.split()).values == values


def test_every_alias_leads_to_a_flag_and_hides_none():
    own = [entry.options for entry in EXPERIMENTS.values() if entry.options is not None]
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
        "data": None, "path_to_data": "Data", "sample": 0,
        "out_path": "Results", "save": True, "overwrite": False, "retry_failed": False,
    }  # fmt: skip
    assert (settings.pruning.pruner, settings.pruning.pruning_type) == ("snip", "direct")
    assert settings.pruning.target_sparsity == Decimal("0.9") and settings.training.train is True


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_names_every_flag_and_choice(word, capsys):
    with pytest.raises(SystemExit) as exit_:
        read(word)
    text = capsys.readouterr().out
    assert exit_.value.code == 0
    own = [entry.options for entry in EXPERIMENTS.values() if entry.options is not None]
    for item in itertools.chain(*(flag_fields(group) for group in (*GROUPS.values(), *own))):
        assert f"--{item.name}" in text and item.metadata["help"].split()[0] in text
    assert "PRUNER/igq" in text and "lenet5" in text


BAD = [
    ("--pruner=snp", "unknown pruner 'snp'; did you mean 'snip'? (valid: dense, random, mag"),
    ("--pruner=random/erg", "did you mean 'erk'? (valid: global, uniform, uniform_plus, erk, igq"),
    (
        "--architecture=lenet300",
        "unknown architecture 'lenet300'; did you mean 'lenet300100'? (valid: lenet300100",
    ),
    ("--data=minst", "unknown data set 'minst'; did you mean 'mnist'?"),
    ("--experiment=single", "unknown experiment 'single'; did you mean 'singleshot'? (valid: dynamic, gradual"),
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
    ("--lr", "--lr: expected one argument"),
    ("--pruner=", "--pruner needs a value"),
    ("--pruner", "--pruner: expected at least one argument"),
    ("--lr_drops=20,10", "--lr_drops must be rising, from 1 on, not 20,10"),
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
    ("--data=mnist cifar10", "'cifar10' belongs to no flag"),
    ("--epochs=1 --iterations=5", "--epochs and --iterations say the same"),
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
    ("--out_path=", "--out_path must be a name, not ''"),
    ("--optimizer=adam --momentum=0.9", "--momentum has no effect with --optimizer=adam"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_mistakes_get_one_clear_line(line, message):
    with pytest.raises(UserError) as error:
        runs(*line.split())
    assert message in str(error.value) and "\n" not in str(error.value)


# Names of runs

PINNED = {
    "": "a7bef87ec0",
    "--pruner=dense": "49dc6f1283",
    "--pruner=random/igq --pruning_type=effective --com_exp=2.5 --sample=3": "daa5808cd0",
    "--architecture=lenet5 --train=0 --batchnorm=batch": "68faad6ee8",
}


@pytest.mark.parametrize(("line", "key"), PINNED.items())
def test_names_of_runs_never_change(line, key):
    """A changed key orphans every result of that kind: new fields need a default that changes nothing."""
    (settings,) = runs(*line.split())
    assert settings.key() == key


def keys(*lines: str) -> set[str]:
    return {settings.key() for line in lines for settings in runs(*line.split())}


def test_equal_networks_have_one_name():
    assert len(keys("", "--target_sparsity=0.90", "--lr=0.1", "--iterations=1500", "--optimizer=momentum")) == 1
    assert len(keys("", "--device=cpu", "--out_path=x", "--save=0", "--overwrite", "--path_to_data=y")) == 1
    assert len(keys("--epochs=2", "--iterations=44")) == 1
    assert len(keys("", "--lr_schedule=step", "--warmup=0")) == 1
    assert len(keys("--pruner=dense", "--pruner=dense --target_sparsity=0.5 --pruning_type=effective")) == 1
    assert len(keys("--pruner=rand/igq", "--pruner=random/igq", "--pruner random/igq")) == 1
    assert len(keys("", "--prune_examples=1437", "--prune_iterations=1", "--schedule=one-shot")) == 1
    assert len(keys("--pruner=synflow", "--pruner=synflow --prune_iterations=100", "--pruner=synflow/synflow")) == 1
    assert len(keys("--pruner=mag", "--pruner=magnitude --pre_iterations=0", "--pruner=mag --pre_iterations=0")) == 1
    assert len(keys("--pruner=random/mag --pre_iterations=9", "--pruner=random/magnitude --pre_iterations=9")) == 1
    assert len(keys("--pruner=magnitude", "--pruner=mag --pre_iterations=1500", "--pruner=magnitude/global")) == 1
    assert len(keys("--pruner=snip/iterative", "--pruner=snip_iterative --prune_iterations=300")) == 1
    assert len(keys("--pruner=synflow --schedule=one-shot", "--pruner=synflow --prune_iterations=1")) == 1
    assert len(keys("--target_sparsity=0.9", "--target_sparsity=0." + "8" + "9" * 40)) == 2


def test_different_networks_have_different_names():
    lines = [
        "", "--sample=1", "--architecture=lenet5", "--pruner=synflow", "--target_sparsity=0.91", "--com_exp=1",
        "--pruning_type=effective", "--pruning_type=effective --effective_type=graph", "--lr=0.2", "--momentum=0.8",
        "--batch_size=32", "--batchnorm=batch", "--validation=10", "--evaluate_every=10", "--augmentation=rotation",
        "--train=0", "--lr_drops=5", "--lr_drop_rate=0.5", "--weight_decay=0", "--prune_examples=10",
        "--optimizer=nesterov", "--iterations=3", "--prune_bias", "--prune_batchnorm", "--invert", "--shuffle",
        "--reinitialize", "--keep_alive", "--prune_train_mode=0", "--prune_iterations=4", "--pruner=mag",
        "--prune_iterations=4 --schedule=linear", "--pruner=synflow --schedule=polynomial", "--pruner=magnitude",
        "--pruner=magnitude --pre_iterations=7", "--pruner=lamp --pre_iterations=0", "--pruner=random/snip",
        "--pruner=snip/iterative", "--lr_schedule=cosine", "--lr_schedule=cyclic", "--warmup=5",
        "--lr_schedule=cyclic --lr_cycle=9", "--dense_classifier",
    ]  # fmt: skip
    assert len(keys(*lines)) == len(lines)


def test_a_new_field_with_a_default_orphans_nothing():
    @dataclass(frozen=True)
    class Options:
        levels: int = setting(1, "a field of tomorrow", kind=int)

    (settings,) = runs()
    grown = dataclasses.replace(settings, options=Options())
    assert grown.key() == settings.key()
    assert grown.with_values(levels=2).key() != settings.key()


@given(st.dictionaries(st.sampled_from(["lr", "momentum", "weight_decay"]), st.floats(0.01, 0.9), min_size=1))
def test_values_survive_as_flags(values):
    (settings,) = runs(*as_flags(values).split())
    assert {name: settings.values()[name] for name in values} == values


# Plans


def test_products():
    plans = runs("--pruner=dense,snip,random", "--target_sparsity=0.9,0.99", "--sample=0,1", "--pruning_type=direct")
    assert len(plans) == 2 + 2 * 2 * 2
    assert sum(settings.pruning.pruner == "dense" for settings in plans) == 2


def test_com_exp_wins():
    (settings,) = runs("--com_exp=2", "--target_sparsity=0.5")
    assert settings.pruning.target_sparsity is None and settings.pruning.com_exp == 2


def test_a_flag_that_some_run_uses_is_fine():
    assert len(runs("--pruner=random,snip", "--prune_examples=5")) == 2
    assert len(runs("--pruning_type=direct,effective", "--effective_type=graph")) == 2
    (magnitude,) = runs("--pruner=magnitude", "--train=0", "--lr=0.2")  # the dense run that it scores is trained
    assert magnitude.training.lr == 0.2


def test_epochs_count_whole_batches_of_what_is_not_held_out():
    (settings,) = runs("--epochs=3", "--validation=37", "--batch_size=100")
    assert settings.training.iterations == 3 * 14 and settings.training.epochs is None


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "imagenet/resnet18"])
@pytest.mark.parametrize("data", [name for name, entry in DATASETS.items() if entry.facts is not None])
def test_every_recipe_resolves(architecture, data):
    settings = resolve(Settings().with_values(architecture=architecture, data=data)).settings
    training = settings.training
    assert None not in (training.lr, training.iterations, training.batch_size, training.augmentation)
    assert all(drop < training.iterations for drop in training.lr_drops or ())
    assert learning_rate(training, training.iterations - 1) >= 0
    assert data != "digits" or training.iterations <= 3000


@pytest.mark.parametrize(("architecture", "data", "expected"), [
    ("lenet300100", "mnist", (0.1, 100, 96_000, (25_000, 50_000, 75_000), 1e-3, 30_000, "momentum", None)),
    ("lenet5", "cifar10", (0.1, 128, 120_000, (30_000, 60_000, 90_000), 1e-3, 38_400, "momentum", None)),
    ("vgg16", "cifar10", (0.1, 128, 62_500, (31_250, 46_875), 2e-4, 38_400, "momentum", None)),
    ("vgg19", "cifar100", (0.1, 128, 62_500, (31_250, 46_875), 2e-4, 50_000, "momentum", None)),
    ("lottery/vgg16-bn", "cifar100", (0.1, 128, 62_400, (23_400, 46_800), 1e-4, 1_000, "nesterov", None)),
    ("tinyimagenet/resnet18", "cifar10", (0.01, 128, 62_400, (23_400, 46_800), 5e-4, 100, "nesterov", None)),
    ("union/resnet32", "cifar100", (0.05, 128, 78_000, None, 5e-4, 128, "nesterov", "swa")),
    ("mlp", "mnist", (0.001, 128, 9_360, None, 0.0, 12_800, "adam", "constant")),
    ("imagenet/resnet18", "cifar10", (0.05, 128, 39_000, (19_500, 29_250), 5e-4, 12_800, "momentum", None)),
])  # fmt: skip
def test_recipes_of_the_papers(architecture, data, expected):
    settings = resolve(Settings().with_values(architecture=architecture, data=data)).settings
    t = settings.training
    found = (t.lr, t.batch_size, t.iterations, t.lr_drops, t.weight_decay, settings.pruning.prune_examples)
    assert (*found, t.optimizer, t.lr_schedule) == expected
    assert t.momentum == (None if t.optimizer == "adam" else 0.9)


def test_the_first_line_of_the_table_that_fits_counts():
    assert recipe("lenet5", "digits", 1437).source == "short" and lines()[-1]["architecture"] == "*"
    assert recipe("lenet5", "imagefolder", 1000).source == "common values, 100 epochs"
    assert recipe("anything", "imagefolder", 10).iterations == 100


def test_own_settings_of_an_experiment_become_flags():
    @dataclass(frozen=True)
    class Options:
        """Of an experiment."""

        levels: int = setting(1, "how often", kind=int)

    request = parse(["--levels=3"], [Options], {}, "test", "")
    assert request.values == {"levels": 3} and request.product() == [{"levels": 3}]
