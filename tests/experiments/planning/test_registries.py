"""Registries: every line leads to code, and `--list` prints every name."""

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module
from inspect import signature

import pytest

import main
from Experiments.base import Experiment, check_options
from Experiments.registry import EXPERIMENTS
from Models.registry import ARCHITECTURES
from Pruners import registry
from Utils.config.fields import setting
from Utils.config.groups import Training
from Utils.config.recipes import lines
from Utils.data.augmentation import AUGMENTATIONS
from Utils.data.registry import DATASETS
from Utils.data.streaming import VARIATIONS
from Utils.figures.registry import FIGURES


def test_every_registry_line_leads_somewhere():
    entries = [*ARCHITECTURES.values(), *registry.CRITERIA.values(), *registry.QUOTAS.values(), *DATASETS.values()]
    entries += FIGURES.values()
    for entry in entries:
        module, name = entry.target.split(":")
        assert getattr(import_module(module), name).__doc__
    for entry in EXPERIMENTS.values():
        module, function = entry.implementation.split(":")
        assert list(signature(getattr(import_module(module), function)).parameters) == ["settings", "inputs", "context"]
    for architecture in ARCHITECTURES.values():
        assert architecture.data is None or architecture.data in DATASETS
    for line in lines():
        names = (*ARCHITECTURES, "imagenet/resnet18")
        assert all(any(fnmatch(name, pattern) for name in names) for pattern in line["architecture"].split())
        assert all(any(fnmatch(name, pattern) for name in DATASETS) for pattern in line["data"].split())
    assert registry.ALIASES.keys().isdisjoint({*registry.CRITERIA})


def test_choices_without_torch_are_those_of_the_code():
    choices = {name: item.metadata["choices"] for name, item in Training.__dataclass_fields__.items()}
    assert set(choices["augmentation"]) == {*AUGMENTATIONS, *VARIATIONS}
    assert {entry.augmentation for entry in DATASETS.values()} <= {*AUGMENTATIONS, *VARIATIONS}


def test_every_list_names_its_registry(capsys):
    for name, entries in {
        "pruners": (*registry.CRITERIA, *registry.QUOTAS), "architectures": (*ARCHITECTURES, "resnet18", "vgg16_bn"),
        "data": DATASETS, "experiments": EXPERIMENTS, "figures": FIGURES, "recipes": ("lenet5 on cifar10",),
        "aliases": ("--dataset", "--data"),
    }.items():  # fmt: skip
        assert main.main([f"--list={name}"]) == 0
        printed = capsys.readouterr().out
        assert all(entry in printed for entry in entries) and max(map(len, printed.splitlines())) <= 120
    assert main.main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("synflow", "igq", "imagefolder", "dead-units", "lenet300100 on mnist"))


@pytest.mark.parametrize(("name", "width"), [
    ("data", 70), ("data", 100), ("experiments", 50), ("figures", 70), ("pruners", 120), ("pruners", 140),
    ("recipes", 70), ("recipes", 100), ("recipes", 120),
])  # fmt: skip
def test_lists_keep_their_columns_in_any_terminal(name, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main.main([f"--list={name}"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    for table in printed.rstrip().split("\n\n"):
        _, heading, *lines = table.splitlines()
        if name == "recipes" and width < 120:
            # Ten columns do not fit: each value stands behind the heading of its column.
            assert "lenet5 on cifar10" in lines and "length 120,000 iterations; optimizer momentum" in printed
            continue
        starts = [match.end() for match in re.finditer("  +", heading)]
        assert starts and all(line[start - 2 : start].strip() == "" for line in lines for start in starts)


@pytest.mark.parametrize("name", ["data", "experiments", "figures"])
def test_no_word_of_a_wrapped_cell_is_lost(name, capsys, monkeypatch):
    texts = []
    for width in ("70", "120"):
        monkeypatch.setenv("COLUMNS", width)
        assert main.main([f"--list={name}"]) == 0
        # Long words are wrapped after their hyphens.
        texts.append(sorted(filter(None, re.split(r"\s+|(?<=-)", capsys.readouterr().out))))
    assert texts[0] == texts[1]


def test_experiments_agree_on_the_options_that_they_share():
    """Several experiments may run in one command, which reads each flag once."""
    seen = {}
    for experiment in EXPERIMENTS.values():
        for name, item in (experiment.Options.__dataclass_fields__ if experiment.Options else {}).items():
            kind = {key: item.metadata[key] for key in ("kind", "choices", "many", "sequence", "check", "aliases")}
            assert seen.setdefault(name, kind) == kind


def test_an_option_may_not_hide_a_flag_of_all_experiments():
    """It would replace the flag in the identity of a run: runs of 9 and of 90 iterations would have one key."""

    @dataclass(frozen=True)
    class Hiding:
        iterations: int = setting(9, "steps", kind=int)

    class Example(Experiment):
        name, about, implementation, Options = "example", "", "", Hiding

    with pytest.raises(ValueError, match="experiment example: the option iterations is a flag of all experiments"):
        check_options(Example())
