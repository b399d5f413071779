"""Allocation against brute-force bisection, exact counts under ties, and what cannot be reached."""

from itertools import product

import pytest
import settings
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from networks import NETWORKS, make, path_counts
from scored import network, pruner_scores
from torch import nn

from Layers import MaskedConv2d, MaskedLinear, Masks, prunable
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Pruners.registry import QUOTAS
from Utils.config.target import Target
from Utils.connectivity.effective import effective_masks, ranking
from Utils.errors import UserError


def prefix(model: nn.Module, scores: dict, kept: int) -> Masks:
    """The `kept` best weights, sorted in plain Python."""
    flat = [(-float(s), i) for i, s in enumerate(torch.cat([score.flatten() for score in scores.values()]))]
    best = torch.zeros(len(flat), dtype=torch.bool)
    best[[i for _, i in sorted(flat)[:kept]]] = True
    parts = best.split([score.numel() for score in scores.values()])
    return Masks({name: part.reshape(scores[name].shape) for name, part in zip(scores, parts, strict=True)})


def bisect(model: nn.Module, scores: dict, shape: tuple, wanted: int, kind: str) -> Masks:
    """The smallest prefix of which at least `wanted` weights are effective, by integer bisection."""
    ranks = ranking(model, scores)
    total = sum(rank.numel() for rank in ranks.values())

    def masks(kept: int) -> Masks:
        return Masks({name: rank > total - kept for name, rank in ranks.items()})

    low, high = 0, total
    while high - low > 1:
        middle = (low + high) // 2
        if Masks(effective_masks(model, shape, masks(middle), kind)).kept >= wanted:
            high = middle
        else:
            low = middle
    return masks(high)


QUICK = {
    *product(settings.WITH_QUOTA, ["lenet5"]), *product(settings.CRITERIA, ["lenet300100"]),
    *product((f"random/{quota}" for quota in QUOTAS), ["lenet300100"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "architecture"), settings.slow_unless(QUICK, product(settings.ALL_PRUNERS, settings.NETWORKS))
)
def test_effective_pruning_is_what_bisection_finds(name, architecture):
    model, shape = network(architecture), settings.NETWORKS[architecture]
    sparsity = {"lenet300100": "0.99", "lenet5": "0.95"}[architecture]
    if not settings.is_possible(name, architecture):
        with pytest.raises(UserError, match="uniform_plus keeps the first convolution"):
            pruner_scores(name, architecture, sparsity)
        return
    total = settings.PRUNABLE[architecture][0]
    kind = "graph" if name.endswith("erk") else "exact"
    scores = pruner_scores(name, architecture, sparsity)
    wanted = total - int(total * float(sparsity))
    masks = allocate(model, scores, sparsity, shape, "effective", kind)
    assert masks == bisect(model, scores, shape, wanted, kind)
    assert Masks(effective_masks(model, shape, masks, kind)).kept >= wanted


@pytest.mark.parametrize("name", NETWORKS)
def test_tiny_networks_against_every_prefix(name):
    model, shape = make(name)
    scores = make_pruner("random").score(model)
    total = sum(score.numel() for score in scores.values())
    effective = [sum(int(m.sum()) for m in path_counts(model, prefix(model, scores, k), shape).values())
                 for k in range(total + 1)]  # fmt: skip
    assert effective == sorted(effective)
    for pruned in range(0, total, 3):
        sparsity = f"{pruned / total:.12f}"
        wanted = Target.of(sparsity).kept(total)
        if wanted > effective[-1]:
            with pytest.raises(UserError, match=f"has only {effective[-1]} effective"):
                allocate(model, scores, sparsity, shape)
            continue
        smallest = next(k for k in range(total + 1) if effective[k] >= wanted)
        assert allocate(model, scores, sparsity, shape) == prefix(model, scores, smallest)


@given(levels=st.integers(1, 5), seed=st.integers(0, 1000), pruned=st.integers(0, 99))
@hypothesis_settings(max_examples=60, deadline=None)
def test_direct_counts_are_exact_under_ties(levels, seed, pruned):
    model = nn.Sequential(nn.Flatten(), MaskedLinear(5, 10), MaskedLinear(10, 5))
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: weight.shape for name, (weight, _) in prunable(model).items()}
    scores = {name: torch.randint(0, levels, shape, generator=generator).float() for name, shape in shapes.items()}
    masks = allocate(model, scores, f"0.{pruned:02d}", (1, 1, 5), "direct")
    assert masks.kept == 100 - pruned
    assert masks == prefix(model, scores, 100 - pruned)


def test_random_pruning_reaches_the_published_effective_counts():
    kept = {"random/uniform": [], "random/erk": [], "random/igq": []}
    for seed in range(5):
        model = build("lenet300100", generator=torch.Generator().manual_seed(seed))
        for name, found in kept.items():
            scores = make_pruner(name).score(model, generator=torch.Generator().manual_seed(seed))
            masks = allocate(model, scores, 0.99, (1, 28, 28), "direct")
            assert masks.kept == 2662
            found.append(Masks(effective_masks(model, (1, 28, 28), masks)).kept)
    mean = {name: sum(found) / 5 for name, found in kept.items()}
    assert 180 < mean["random/uniform"] < 350
    assert 2250 < mean["random/erk"] < 2430
    assert 2560 < mean["random/igq"] < 2662


def test_a_count_between_two_jumps_gives_the_next_that_exists():
    """Two weights in series are effective together or not at all."""
    model = nn.Sequential(nn.Flatten(), MaskedLinear(1, 1), MaskedLinear(1, 1))
    scores = {"1.weight": torch.tensor([[2.0]]), "2.weight": torch.tensor([[1.0]])}
    masks = allocate(model, scores, 0.5, (1, 1, 1))
    assert masks.kept == 2
    assert allocate(model, scores, 0.5, (1, 1, 1), "direct").kept == 1


def test_more_than_there_is_cannot_be_kept():
    # The outer taps of a 3 x 3 kernel see only padding on a 1 x 1 map.
    model = nn.Sequential(MaskedConv2d(1, 1, 3, padding=1), nn.Flatten(), MaskedLinear(1, 1))
    scores = make_pruner("random").score(model)
    with pytest.raises(UserError, match=r"has only 2 effective ones to begin with, effective sparsity 0\.8"):
        allocate(model, scores, 0.5, (1, 1, 1))
    assert Masks(effective_masks(model, (1, 1, 1), allocate(model, scores, 0.8, (1, 1, 1)))).kept == 2
    model[0].weight_mask[:] = False
    with pytest.raises(UserError, match=r"has only 1 unpruned ones to begin with, direct sparsity 0\.9"):
        allocate(model, scores, 0.5, (1, 1, 1), "direct")


def test_unknown_types():
    model = build("lenet5")
    scores = make_pruner("random").score(model)
    with pytest.raises(UserError, match="valid: direct, effective"):
        allocate(model, scores, 0.5, (3, 32, 32), "indirect")
    with pytest.raises(UserError, match="valid: exact, graph"):
        allocate(model, scores, 0.5, (3, 32, 32), "effective", "custom")
