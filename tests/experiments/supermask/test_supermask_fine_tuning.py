"""What follows a search: fine-tuning by its own recipe, sanity checks, and networks or searches that fail."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from commands import execute, runs
from conftest import layer_counts, rows_of, run_folder
from searches import EPOCHS, FC, SMALL, STEPS, TOTAL, WORDS, watched

from Experiments.common.fine_tuning import fine_tuning_recipe, milestones
from Layers import Masks
from Utils.training.lr_schedules import learning_rate

SEARCH = [FC, "--freeze_every=2"]


@pytest.mark.parametrize(("epochs", "expected"), [
    (6, (3,)), (100, (50, 80)), (150, (80, 120)), (160, (80, 120)), (200, (100, 150)), (300, (150, 250)),
    (25, (12, 16)), (10, (5, 6)), (7, (3, 4)),
])  # fmt: skip
def test_the_programs_milestones(epochs, expected):
    assert milestones(epochs) == expected


def rates(*words: str) -> list[float]:
    """The learning rate of the last step of each epoch of fine-tuning."""
    return watched(*SEARCH, *words).outcome.training["lr"].tolist()[EPOCHS + 1 :]


def test_rates_of_fine_tuning():
    assert rates() == [0.01] * EPOCHS
    # After 2 and 3 of 5 epochs.
    assert rates("--fine_tune_lr_schedule=step", "--fine_tune_lr=0.5") == pytest.approx([0.5, 0.5, 0.05, 0.005, 0.005])
    drops = ["--fine_tune_lr_schedule=step", "--fine_tune_lr_drops=3,14"]
    assert rates(*drops) == pytest.approx([0.01, 0.001, 0.001, 0.001, 0.0001])


def test_a_cosine_at_the_start_of_each_epoch():
    searched = watched(*SEARCH, "--fine_tune_lr_schedule=cosine", "--lr_schedule=cosine", "--lr=0.3")
    recipe = fine_tuning_recipe(searched.settings, STEPS)
    for one, rate in ((recipe, 0.01), (searched.settings.recipe, 0.3)):
        for epoch in range(EPOCHS + 1):
            expected = rate * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2
            assert learning_rate(one, epoch * STEPS) == pytest.approx(expected, abs=1e-15)
    search = [
        0.3 * (1 + math.cos(math.pi * (STEPS * epoch - 1) / (STEPS * EPOCHS))) / 2 for epoch in range(1, EPOCHS + 1)
    ]
    assert searched.outcome.training["lr"].tolist()[1:] == pytest.approx([*search, *(rate / 30 for rate in search)])


def test_the_recipe_of_fine_tuning_differs_in_its_own_options_only():
    more = ["--optimizer=adam", "--weight_decay=0.03", "--warmup=2", "--fine_tune_optimizer=nesterov",
            "--fine_tune_weight_decay=0.07", "--fine_tune_length=0.5"]  # fmt: skip
    settings = watched(*SEARCH, *more, "--fine_tune_lr=0.02").settings
    recipe = fine_tuning_recipe(settings, STEPS)
    assert recipe == replace(
        settings.recipe, iterations=8, optimizer="nesterov", lr=0.02, lr_schedule="constant", lr_drops=(),
        lr_drop_rate=0.1, momentum=0.9, weight_decay=0.07, warmup=0,
    )  # fmt: skip


@pytest.mark.parametrize(("optimizer", "name"), [("adam", "Adam"), ("sgd", "SGD"), ("momentum", "SGD")])
def test_options_reach_the_optimizer(monkeypatch, optimizer, name):
    groups: list[dict] = []
    made = getattr(torch.optim, name).__init__

    def kept(self, *arguments, **options):
        made(self, *arguments, **options)
        groups.extend({**group, "params": len(group["params"])} for group in self.param_groups)

    monkeypatch.setattr(getattr(torch.optim, name), "__init__", kept)
    watched(*SEARCH, "--optimizer=rmsprop", f"--fine_tune_optimizer={optimizer}", "--fine_tune_weight_decay=0.07",
            "--fine_tune_lr=0.003")  # fmt: skip
    (group,) = (group for group in groups if group["params"])
    assert group["weight_decay"] == 0.07 and group["params"] == 6
    assert group.get("momentum", 0.9) == (0 if optimizer == "sgd" else 0.9)


@pytest.mark.parametrize("trains", [False, True])
def test_biases_and_shifts(trains):
    searched = watched(f"--architecture={SMALL}", "--freeze_every=2", f"--fine_tune_biases={int(trains)}")
    first, *_, last = searched.of("fine-tune")
    for name, value in first.state.items():
        if name.endswith("bias"):
            assert torch.equal(value, last.state[name]) != trains, name
    assert not torch.equal(first.state["norm.weight"], last.state["norm.weight"])


@pytest.mark.parametrize("length", [0, 0.4, 2])
def test_the_length_of_fine_tuning(length):
    searched = watched(*SEARCH, f"--fine_tune_length={length}", "--sanity_checks=shuffle")
    steps = round(length * EPOCHS * STEPS)
    summary, rounded = searched.outcome.summary, searched.rows("rounded")[0]["top1"]
    tested = [rounded, *(row["top1"] for row in searched.rows("fine-tune"))]
    assert (summary["rounded_top1"], summary["top1"], summary["best_top1"]) == (rounded, tested[-1], max(tested))
    assert searched.outcome.training["top1"].iloc[-1] == tested[-1]
    assert searched.outcome.training["iteration"].iloc[-1] == EPOCHS * STEPS + steps
    phases = [row["phase"] for row in searched.rows()]
    tests = steps // STEPS
    assert phases == ["search"] * EPOCHS + ["rounded"] + ["fine-tune"] * tests + ["shuffle"] * tests
    if not length:
        start = searched.of("search")[0].weights
        weights = searched.outcome.weights
        assert all(torch.equal(weights[name], start[name] * mask) for name, mask in searched.masks.items())
        assert searched.outcome.summary["shuffle_top1"] != searched.outcome.summary["top1"]


@pytest.fixture(scope="module")
def checked():
    """A run with all sanity checks."""
    return watched(*SEARCH, "--penalty_strength=0.02", "--target_density=0.5",
                   "--sanity_checks=shuffle,reinitialize,invert,random")  # fmt: skip


def test_sanity_checks_start_from_the_network_that_is_fine_tuned(checked):
    start = checked.of("fine-tune")[0]
    assert start.masks == checked.masks and checked.masks.kept < 0.95 * checked.freezings[-1].kept
    first = {check: checked.of(check)[0] for check in ("shuffle", "reinitialize", "invert", "random")}
    for check in ("shuffle", "random"):
        assert layer_counts(first[check].masks) == layer_counts(checked.masks)
        assert all(not torch.equal(mask, checked.masks[name]) for name, mask in first[check].masks.items())
    assert first["reinitialize"].masks == checked.masks and first["invert"].masks == ~checked.masks
    initial = checked.of("search")[0].weights
    for check, test in [("", start), *first.items()]:
        keeps = check in ("", "shuffle", "invert")
        for name, weight in initial.items():
            assert torch.equal(test.weights[name], weight * test.masks[name]) == keeps
    for name, weight in first["reinitialize"].weights.items():
        assert not torch.equal(weight, first["random"].weights[name])
        kept = weight[checked.masks[name]]
        assert kept.std() == pytest.approx(math.sqrt(2 / weight.shape[1]), rel=5 / math.sqrt(len(kept)))


def test_rows_of_sanity_checks(checked):
    for check in ("shuffle", "reinitialize", "invert", "random"):
        rows, tests = checked.rows(check), checked.of(check)
        assert [row["epoch"] for row in rows] == [EPOCHS + epoch for epoch in range(1, EPOCHS + 1)]
        assert [row["top1"] for row in rows] == [test.top1 for test in tests[1:]]
        assert all(row["density"] == tests[0].masks.kept / TOTAL and row["flips"] == 0 for row in rows)
        assert checked.outcome.summary[f"{check}_top1"] == rows[-1]["top1"]
        assert checked.outcome.summary[f"{check}_kept"] == tests[-1].masks.kept
    assert len(checked.rows()) == 2 * EPOCHS + 1 + 4 * EPOCHS
    assert checked.outcome.training["iteration"].is_monotonic_increasing


@pytest.mark.parametrize("check", ["reinitialize", "random"])
def test_a_sanity_check_is_the_same_whatever_the_others_are(checked, check):
    alone = watched(*SEARCH, "--penalty_strength=0.02", "--target_density=0.5", f"--sanity_checks={check}")
    assert alone.of(check)[0].masks == checked.of(check)[0].masks
    assert alone.rows(check) == [pytest.approx(row, nan_ok=True) for row in checked.rows(check)]


def test_a_network_that_collapses_is_only_tested(tmp_path):
    words = [*SEARCH, "--penalty_strength=10", "--sanity_checks=shuffle"]
    with pytest.warns(UserWarning, match="has collapsed: no path from input to output is left"):
        searched = watched(*words)
    assert searched.masks.kept == 0 and searched.outcome.summary["collapsed"] and not searched.outcome.error
    assert [row["phase"] for row in searched.rows()] == ["search"] * EPOCHS + ["rounded"]
    assert searched.outcome.training["iteration"].iloc[-1] == EPOCHS * STEPS
    assert searched.rows("rounded")[0]["density"] == 0
    assert execute(tmp_path, *WORDS, *words) == 0 and rows_of(tmp_path)["collapsed"].all()


def test_a_check_of_a_collapsed_mask_trains_if_its_own_has_not_collapsed():
    words = [FC, "--freeze_every=2", "--target_density=0.00001", "--sanity_checks=shuffle,invert"]
    with pytest.warns(UserWarning, match="has collapsed"):
        searched = watched(*words)
    assert len(searched.rows("invert")) == EPOCHS and not searched.rows("shuffle")
    assert searched.outcome.summary["invert_top1"] == searched.rows("invert")[-1]["top1"]


@pytest.mark.parametrize("words", [
    ["--algorithm=edge-popup", "--lr=1e38"], ["--freeze_every=2", "--fine_tune_lr=1e30"],
    ["--freeze_every=2", "--weight_decay=1e38", "--clamp_forward"],
])  # fmt: skip
def test_what_diverges_is_a_failed_run_with_its_reason(tmp_path, words):
    assert execute(tmp_path, *WORDS, FC, *words, "--sanity_checks=shuffle") == 1
    (row,) = rows_of(tmp_path).to_dict("records")
    assert row["status"] == "failed" and " diverged: the " in row["error"] and "not finite at iteration" in row["error"]
    folder = run_folder(tmp_path, pd.Series(row))
    assert not (folder / "search.csv").exists() or "shuffle" not in set(pd.read_csv(folder / "search.csv")["phase"])


def test_masks_of_a_search_start_another_run(tmp_path):
    assert execute(tmp_path, *WORDS, *SEARCH) == 0
    (run,) = rows_of(tmp_path)["run"]
    words = ["--data=digits", FC, "--image_size=8", "--threads=1", "--pruner=dense", f"--masks_from={run}"]
    assert execute(tmp_path, *words, "--iterations=5", "--evaluate_every=5") == 0
    kept = rows_of(tmp_path)["kept_direct"].tolist()
    assert len(kept) == 2 and kept[0] == kept[1] > 0
    folders = [run_folder(tmp_path, row) for _, row in rows_of(tmp_path).iterrows()]
    first, second = (Masks.load(folder / "masks.safetensors") for folder in folders)
    assert first == second


def test_the_settings_of_a_row_can_be_typed_again(tmp_path):
    assert execute(tmp_path, *WORDS, FC, "--algorithm=edge-popup", "--fine_tune_length=0") == 0
    (row,) = rows_of(tmp_path).to_dict("records")
    assert "--pruner=edge-popup" in row["settings"]
    (settings,) = runs("--experiment=supermask", *row["settings"].split())
    assert settings.key() == row["run"]
