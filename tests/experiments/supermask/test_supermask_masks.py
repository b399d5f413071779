"""Masks that searches find: exact counts, freezing, rounding and frozen weights, by independent calculations."""

import math
import warnings
from decimal import Decimal
from itertools import pairwise

import pytest
import torch
from commands import execute
from conftest import layer_counts, masks_and_weights, rows_of
from searches import EPOCHS, FC, SIZES, SMALL, TOTAL, WORDS, effective_count, left_after, watched

from Layers import Masks
from Pruners.schedules.smart_ratio import smart_ratio_counts

ONLY_FREEZING = ["--score_penalty=none", "--weight_decay=0"]
"""Nothing but freezing makes these scores small."""


@pytest.mark.parametrize("density", ["0.02", "0.1", "0.5", "1"])
def test_freezing_follows_the_schedule_exactly_and_its_masks_are_nested(density):
    searched = watched(FC, "--freeze_every=1", f"--target_density={density}")
    counts = left_after(float(density), TOTAL, EPOCHS - 1)
    assert [free.kept for free in searched.freezings] == counts
    # Nothing is frozen after the first epoch, and a row is about the epoch before freezing.
    shown = [round(row["free_density"] * TOTAL) for row in searched.rows("search")]
    assert shown == [TOTAL, TOTAL, *counts[:-1]]
    steps = [searched.of("search")[0].free, *searched.freezings, searched.masks]
    assert all((after - before).kept == 0 for before, after in pairwise(steps))


def test_the_lowest_scores_are_frozen_out():
    searched = watched(FC, "--freeze_every=4")
    (free,), last = searched.freezings, searched.of("search")[-1]
    scores = torch.cat([last.scores[name].flatten() for name in free])
    left = torch.cat([mask.flatten() for mask in free.values()])
    assert scores[~left].max() <= scores[left].min() and 0 < free.kept < TOTAL


def test_freezing_in_each_layer():
    searched = watched(FC, "--freeze_every=2", "--freeze_rule=layer", "--target_density=0.3")
    expected = [left_after(0.3, size, 2) for size in SIZES]
    assert [layer_counts(free) for free in searched.freezings] == [list(step) for step in zip(*expected, strict=True)]
    assert {row["free_density"] for row in searched.rows("search")} > {1.0}


def test_freezing_by_the_threshold_has_no_target():
    searched = watched(FC, "--freeze_every=2", "--freeze_rule=threshold", "--threshold=0.7", "--lr=1")
    before = [searched.of("search")[epoch + 1] for epoch in (2, 4)]
    for test, free in zip(before, searched.freezings, strict=True):
        assert free == Masks({name: test.free[name] & (score > 0.7) for name, score in test.scores.items()})
    assert searched.outcome.summary["target_kept"] == TOTAL and searched.settings.pruning.target_sparsity == 0


def test_the_last_freezing():
    searched = watched(FC, "--freeze_every=1", "--stop_freezing=2")
    assert [free.kept for free in searched.freezings] == left_after(0.1, TOTAL, 2)
    shown = [round(row["free_density"] * TOTAL) for row in searched.rows("search")]
    assert shown == [TOTAL, TOTAL, *(free.kept for free in searched.freezings), searched.freezings[-1].kept]


def last_scores(searched) -> tuple[Masks, dict[str, torch.Tensor]]:
    """The entries left free, and the scores at the end of a search."""
    last = searched.of("search")[-1]
    return searched.freezings[-1] if searched.freezings else last.free, last.scores


def test_unflag_keeps_exactly_the_free_entries():
    searched = watched(FC, "--freeze_every=2", "--unflag", "--target_density=0.6")
    free, scores = last_scores(searched)
    assert searched.masks == free and free.kept == left_after(0.6, TOTAL, 2)[-1]
    rounded = sum(int((free[name] & (score > 0.5)).sum()) for name, score in scores.items())
    assert rounded < free.kept, "otherwise the rule would show nothing"


@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_without_unflag_the_rounded_entries_are_kept(threshold):
    searched = watched(FC, "--freeze_every=2", "--target_density=0.6", f"--threshold={threshold}")
    free, scores = last_scores(searched)
    assert searched.masks == Masks({name: free[name] & (score > threshold) for name, score in scores.items()})
    assert 0 < searched.masks.kept < free.kept


def test_probabilistic_rounding_keeps_each_entry_with_its_score_as_probability():
    words = FC, "--algorithm=hypercube", "--rounding=probabilistic"
    searched, other = watched(*words), watched(*words, "--sample=1")
    free, scores = last_scores(searched)
    for name, score in scores.items():
        mask = searched.masks[name]
        error = (mask.double() - score.double()).sum() / (score * (1 - score)).double().sum().sqrt()
        assert abs(error) < 5 and mask[score >= 1].all() and not mask[score <= 0].any()
    assert (searched.masks - free).kept == 0 and searched.masks != other.masks
    assert any(bool(mask[scores[name] < 0.5].any()) for name, mask in searched.masks.items())
    assert watched(*words).masks == searched.masks


def test_a_penalty_alone_has_no_target():
    searched = watched(FC, "--algorithm=hypercube")
    free, scores = last_scores(searched)
    assert searched.masks == Masks({name: score > 0.5 for name, score in scores.items()})
    assert not searched.freezings and free.kept == TOTAL
    assert searched.settings.pruning.target_sparsity == 0 and searched.outcome.summary["target_kept"] == TOTAL


DENSITIES = [Decimal("0.1"), Decimal("0.123"), Decimal("0.9")]


@pytest.mark.parametrize("density", DENSITIES)
def test_edge_popup_keeps_the_largest_scores_of_each_layer(density):
    searched = watched(FC, "--algorithm=edge-popup", f"--target_density={density}")
    counts = [math.ceil(density * size) for size in SIZES]
    for test in searched.of("search"):
        assert layer_counts(test.masks) == counts
        for name, score in test.scores.items():
            assert score.abs()[test.masks[name]].min() >= score.abs()[~test.masks[name]].max()
    assert layer_counts(searched.masks) == counts and searched.masks == searched.of("search")[-1].masks


def test_edge_popup_over_all_layers_keeps_the_exact_count():
    searched = watched(FC, "--algorithm=global-edge-popup", "--target_density=0.123")
    for test in searched.of("search"):
        scores, kept = (torch.cat([part[name].flatten() for name in test.scores]) for part in (test.scores, test.masks))
        assert test.masks.kept == math.ceil(Decimal("0.123") * TOTAL) and scores.abs()[kept].min() >= (
            scores.abs()[~kept].max()
        )
    assert searched.masks == searched.of("search")[-1].masks


def test_edge_popup_that_keeps_fewer_in_steps():
    searched = watched(FC, "--algorithm=iterative-edge-popup", "--freeze_every=2", "--target_density=0.16")
    kept = [test.masks.kept for test in searched.of("search")]
    # Two steps after the third and the fifth epoch, the second of which shows only in the final mask.
    assert kept == [TOTAL, TOTAL, TOTAL, TOTAL, math.ceil(0.4 * TOTAL - 1e-9), math.ceil(0.4 * TOTAL - 1e-9)]
    assert searched.masks.kept == math.ceil(Decimal("0.16") * TOTAL)


@pytest.mark.parametrize("more", [[], ["--smart_ratio_ends", "0.2", "0.4"]])
def test_smart_ratios_draw_the_counts_of_each_layer(more):
    words = [FC, "--algorithm=smart-ratio", "--target_density=0.2"]
    ends = {"first_density": 0.2, "last_density": 0.4} if more else {}
    found = watched(*words, *(["--smart_ratio_ends=0.2,0.4"] if more else []))
    assert layer_counts(found.masks) == smart_ratio_counts(SIZES, "0.2", False, **ends).counts
    assert found.masks != watched(*words, "--sample=1").masks
    assert [row["phase"] for row in found.rows()] == ["rounded"] + ["fine-tune"] * EPOCHS


def test_effective_freezing_leaves_as_many_effective_entries_as_the_target():
    words = [FC, "--freeze_every=2", "--pruning_type=effective", "--target_density=0.02"]
    direct, searched = watched(FC, "--freeze_every=2", "--target_density=0.02"), watched(*words, "--unflag")
    target = math.ceil(0.02 * TOTAL)
    assert effective_count(direct.freezings[-1]) < target <= effective_count(searched.masks)
    assert searched.outcome.summary["kept_effective"] == effective_count(searched.masks)
    assert searched.masks == searched.freezings[-1] and (searched.freezings[1] - searched.freezings[0]).kept == 0
    # The lowest scores go, and one entry fewer would miss the target.
    last = searched.of("search")[-1]
    scores = torch.cat([last.scores[name].flatten() for name in searched.masks])
    left = torch.cat([mask.flatten() for mask in searched.masks.values()])
    free = torch.cat([mask.flatten() for mask in searched.freezings[0].values()])
    assert scores[left].min() >= scores[free & ~left].max()
    lowest = int(torch.where(left, scores, torch.inf).argmin())
    left[lowest] = False
    parts = left.split(SIZES)
    fewer = Masks(
        {name: part.reshape(searched.masks[name].shape) for name, part in zip(last.scores, parts, strict=True)}
    )
    assert effective_count(fewer) < target


@pytest.fixture
def masks_file(tmp_path) -> str:
    """A file of masks that keep half of the network."""
    generator = torch.Generator().manual_seed(3)
    shapes = [(100, 64), *[(100, 100)] * 4, (10, 100)]
    masks = {f"fc{n}.weight": torch.rand(shape, generator=generator) < 0.5 for n, shape in enumerate(shapes, start=1)}
    Masks(masks).save(tmp_path / "masks.safetensors")
    return str(tmp_path / "masks.safetensors")


@pytest.mark.parametrize("more", [
    ["--freeze_every=2", "--unflag"], ["--freeze_every=2"], ["--algorithm=hypercube"], ["--algorithm=edge-popup"],
    ["--algorithm=iterative-edge-popup", "--freeze_every=2"],
])  # fmt: skip
def test_what_given_masks_prune_never_returns(masks_file, more):
    base = Masks.load(masks_file)
    searched = watched(FC, f"--masks_from={masks_file}", "--sanity_checks=invert", *more)
    assert all((test.masks - base).kept == 0 for test in searched.tests)
    assert searched.of("search")[0].free == base
    inverted = searched.of("invert")[0].masks
    assert inverted == base - searched.masks and inverted.kept == base.kept - searched.masks.kept
    if "--unflag" in more:
        assert searched.masks.kept == left_after(0.1 * TOTAL / base.kept, base.kept, 2)[-1] <= math.ceil(0.1 * TOTAL)
        assert searched.masks.kept >= 0.1 * TOTAL - 2


@pytest.mark.parametrize("algorithm", ["gem-miner", "edge-popup", "global-edge-popup"])
def test_given_masks_that_keep_too_few(tmp_path, masks_file, algorithm, capsys):
    words = [*WORDS, FC, f"--masks_from={masks_file}", f"--algorithm={algorithm}", "--target_density=0.9"]
    assert execute(tmp_path, *words, *["--freeze_every=2"] * (algorithm == "gem-miner")) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "weights cannot be kept: " in lines[0] and "unpruned ones to begin with" in lines[0]


@pytest.mark.parametrize(("more", "sets_density"), [
    (["--penalty_strength=0.05", "--target_density=0.5"], True), (["--weight_decay=0.5", "--target_density=0.5"], True),
    (ONLY_FREEZING, False), (["--penalty_strength=0.05", "--target_density=0.5", "--unflag"], False),
])  # fmt: skip
def test_who_set_the_density_is_told(more, sets_density):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        searched = watched(FC, "--freeze_every=2", *more)
    told = [str(warning.message) for warning in caught if "set the density, not freezing" in str(warning.message)]
    assert len(told) == sets_density
    free = searched.freezings[-1]
    if sets_density:
        shares = f"{searched.masks.kept / TOTAL:.2%} of the weights are kept, though {free.kept / TOTAL:.2%} are not"
        assert shares in told[0] and "--unflag keeps all that are not frozen out" in told[0]
        assert searched.masks.kept < 0.95 * free.kept
    else:
        assert searched.masks.kept >= 0.95 * free.kept


@pytest.mark.parametrize("init", ["unchanged", "kaiming-normal"])
def test_a_search_changes_nothing_but_scores_and_statistics(init):
    searched = watched(f"--architecture={SMALL}", "--freeze_every=2", f"--weight_init={init}", "--prune_batchnorm",
                       "--target_density=0.7")  # fmt: skip
    start, *tests = searched.of("search")
    for test in tests:
        for name, value in test.state.items():
            if not name.endswith(("_mask", "_score", "_free")):
                moves = name.startswith("norm.running") or name == "norm.num_batches_tracked"
                assert moves != torch.equal(value, start.state[name]), name
        assert any(not torch.equal(test.scores[name], start.scores[name]) for name in start.scores)
    tuned = searched.of("fine-tune")[0]
    assert all(torch.equal(weight, start.weights[name] * tuned.masks[name]) for name, weight in tuned.weights.items())
    assert torch.equal(tuned.state["stem.bias"], start.state["stem.bias"])


def test_saved_weights_are_pruned(tmp_path):
    assert execute(tmp_path, *WORDS, FC, "--freeze_every=2") == 0
    masks, weights = masks_and_weights(tmp_path, rows_of(tmp_path).iloc[0])
    assert all(not weights[name][~mask].any() and weights[name][mask].all() for name, mask in masks.items())
    assert set(weights) == {f"fc{number}.weight" for number in range(1, 7)}
