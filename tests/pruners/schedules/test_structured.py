"""The quota `structured`: the masks of the program's loop, and exact, nested counts at every target."""

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
import settings
import torch
from commands import execute, runs
from conftest import rows_of, run_folder
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from Experiments.planning.resolve import needs_of
from Layers import MaskedConv2d, MaskedLinear, Masks, prunable
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Pruners.schedules.structured import check_structured, structured
from Utils.config.target import Target
from Utils.errors import UserError

FC = (1, 28, 28)
DRAWS = [600, *[400] * 4, 200]
NETWORK = ["--data=digits", "--architecture=fc", "--image_size=28", "--train=0"]


def program(shape, active, tile, generator) -> list[tuple[tuple[int, int], np.ndarray]]:
    """The program's loop until the active rows are full: each draw's first entry, and the mask after the draw."""
    inputs, (height, width) = shape[1], tile
    mask, draws = np.zeros(shape, dtype=bool), []
    while not mask[:active].all():
        x, y = generator.integers(active), generator.integers(inputs)
        while mask[x, y]:
            x, y = generator.integers(active), generator.integers(inputs)
        mask[x, y] = True
        try:
            for below in range(1, height):
                mask[x + below, y] = True
            for right in range(1, width):
                if mask[x, y + right]:
                    break
                mask[x, y + right] = True
        except IndexError:
            pass
        draws.append(((int(x), int(y)), mask.copy()))
    return draws


@given(
    st.integers(1, 6), st.integers(2, 9), st.integers(1, 6),
    st.just((2, 3)) | st.tuples(st.integers(1, 4), st.integers(1, 5)), st.integers(0, 10_000),
)  # fmt: skip
@hypothesis_settings(max_examples=200, deadline=None)
def test_the_same_draws_place_what_the_program_places(rows, inputs, active, tile, seed):
    assume(active <= rows)
    generator = np.random.default_rng(seed)
    draws = program((rows, inputs), active, tile, generator)
    scores = torch.from_numpy(generator.random((rows, inputs))) - 1
    for place, (anchor, _) in enumerate(draws):
        scores[anchor] = len(draws) - place
    masks = {"w": torch.ones(rows, inputs, dtype=torch.bool)}
    share = Decimal(active) if active > 1 else Decimal(1) / rows
    new = structured({"w": scores}, masks, [Decimal(2)], [share], tile)["w"].numpy()
    for done, (_, mask) in enumerate(draws, start=1):
        assert ((new > -done / 2) == mask).all()
    assert len(np.unique(new)) == new.size


def natural(seed: int) -> dict[str, torch.Tensor]:
    """The masks of the program's network after its draws."""
    model = build("fc", FC)
    scores = make_pruner("random/structured").score(model, generator=torch.Generator().manual_seed(seed))
    return {name: score > -1 for name, score in scores.items()}


def test_the_densities_of_the_program():
    counts = []
    for seed in range(20):
        masks = list(natural(seed).values())
        assert [int(mask.any(1).sum()) for mask in masks] == [7, 31, 31, 31, 31, 10]
        first, *hidden, last = (int(mask.sum()) for mask in masks)
        assert 2045 <= first <= 2132 and all(1322 <= count <= 1402 for count in hidden) and 555 <= last <= 610
        assert sum((first, *hidden, last)) / 119_400 == pytest.approx(0.068, abs=0.001)
        counts.append((first, np.mean(hidden), last))
    assert np.mean(counts, axis=0) == pytest.approx((2094.6, 1361, 583), abs=8)


def test_the_defaults_are_the_draws_and_rows_of_the_program():
    weights = {name: weight for name, (weight, _) in prunable(build("fc", FC)).items()}
    assert list(check_structured(weights).values()) == list(zip([6, *[30] * 4, 10], DRAWS, strict=True))
    given = check_structured(weights, list(map(Decimal, (600, 400, 200))), list(map(Decimal, (6, 30, 10))))
    assert given == check_structured(weights)


class Branches(nn.Module):
    """A network with a convolution, a normalisation and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(MaskedConv2d(2, 6, 3), nn.Flatten(), MaskedLinear(24, 8), MaskedLinear(8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@given(st.integers(0, 1000), st.lists(st.integers(0, 99), min_size=2, max_size=5, unique=True))
@hypothesis_settings(max_examples=60, deadline=None)
def test_counts_are_exact_masks_nested_and_inactive_rows_last(seed, percents):
    model = Branches()
    scores = make_pruner("random/structured").score(model, generator=torch.Generator().manual_seed(seed))
    rows = [count for count, _ in check_structured(scores).values()]
    total = sum(score.numel() for score in scores.values())
    found = []
    for percent in sorted(percents):
        masks = allocate(model, scores, f"0.{percent:02d}", (2, 4, 4), "direct")
        assert masks.kept == Target.of(f"0.{percent:02d}").kept(total)
        found.append(masks)
        beyond = any(bool(mask[count + 1 :].any()) for mask, count in zip(masks.values(), rows, strict=True))
        assert not beyond or all(bool(mask[:count].all()) for mask, count in zip(masks.values(), rows, strict=True))
    for larger, smaller in pairwise(found):
        assert all(bool((larger[name] | ~mask).all()) for name, mask in smaller.items())


def sparsity_of(kept: int) -> Decimal:
    """A sparsity at which exactly `kept` weights of the network stay."""
    return (119_400 - kept + Decimal("0.5")) / 119_400


def test_layers_are_drawn_in_proportion():
    """At half and at one and a half times the program's draws, each layer has had that share of its own."""
    model = build("fc", FC)
    scores = make_pruner("random/structured").score(model)
    for share in (0.5, 1.5):
        kept = sum(int((score > -share).sum()) for score in scores.values())
        masks = allocate(model, scores, sparsity_of(kept), FC, "direct")
        assert masks.kept == kept
        for (name, mask), draws in zip(masks.items(), DRAWS, strict=True):
            drawn = torch.ceil(-scores[name][mask] * draws - 1e-9).max()
            assert int(drawn) == share * draws
    dense = [mask[:count].all() for mask, count in zip(masks.values(), [6, *[30] * 4, 10], strict=True)]
    assert not any(dense)


@pytest.mark.parametrize("architecture", ["lenet5", "lottery/resnet20"])
def test_filters_are_rows_and_their_weights_columns(architecture):
    model = build(architecture)
    scores = make_pruner("random/structured").score(model)
    plans, kernels = check_structured(scores), list(scores.items())
    for name, score in kernels:
        rows = plans[name][0]
        share = {kernels[0][0]: 0.06, kernels[-1][0]: 1}.get(name, 0.3)
        assert rows == max(1, round(share * len(score)))
        alive = (score > -1).flatten(1).any(1)
        assert not alive[rows + 1 :].any() and int(alive.sum()) >= min(rows, 2)
    masks = allocate(model, scores, "0.9", (3, 32, 32), "direct")
    assert masks.kept == Target.of("0.9").kept(masks.total)


def test_tiles_begin_where_the_criterion_is_strongest():
    model = build("fc", FC, generator=torch.Generator().manual_seed(3))
    plain, tiled = (make_pruner(name).score(model) for name in ("mag", "mag/structured"))
    for (name, score), rows in zip(tiled.items(), [6, *[30] * 4, 10], strict=True):
        best = int(plain[name][:rows].argmax())
        assert int(score.argmax()) == best
    rest = {name: score[40:].flatten() for name, score in tiled.items() if len(score) > 40}
    for name, score in rest.items():
        order = plain[name][40:].flatten().sort(descending=True, stable=True).indices
        assert (score[order].diff() < 0).all(), "the other rows keep the order of the criterion"


def test_what_is_pruned_already_is_not_placed():
    model = build("fc", FC)
    prunable(model)["fc2.weight"][1][:, ::2] = False
    masks = allocate(model, make_pruner("random/structured").score(model), "0.93", FC, "direct")
    assert masks.kept == Target.of("0.93").kept(119_400) and not masks["fc2.weight"][:, ::2].any()
    assert not masks["fc2.weight"][31:].any() and int(masks["fc2.weight"].sum()) > 500
    alone = {"w": torch.rand(3, 4)}
    nothing = structured(alone, {"w": torch.zeros(3, 4, dtype=torch.bool)})
    assert nothing["w"].isfinite().all()


def test_a_tile_ends_before_what_is_pruned_already():
    scores, mask = {"w": torch.tensor([[4.0, 3, 2, 1]])}, {"w": torch.tensor([[True, False, True, True]])}
    new = structured(scores, mask, [Decimal(2)], [Decimal(1)], (1, 4))["w"][0]
    assert torch.ceil(-2 * new)[mask["w"][0]].tolist() == [1, 2, 2] and new[1] < -1


def test_biases_have_the_fractions_of_their_layer():
    model = Branches()
    for layer in model.layers:
        if isinstance(layer, MaskedConv2d | MaskedLinear):
            layer.add_mask("bias")
    scores = make_pruner("random/structured").score(model)
    plans = check_structured(scores)
    assert [plans[name][0] for name in scores if name.endswith("bias")] == [1, 2, 4]
    assert allocate(model, scores, "0.25", (2, 4, 4), "direct").kept == Target.of("0.25").kept(350)


@pytest.mark.parametrize(("options", "message"), [
    ({"draws": (5, 5)}, "--draws needs three values, for the first, the hidden and the last layer, or one for each of "
     "the 6 layers, not 2"),
    ({"active_rows": (5,) * 7}, "--active_rows needs three values, .* or one for each of the 6 layers, not 7"),
    ({"active_rows": (6, 30, 11)}, "--active_rows=11 is more than the 10 units in fc6.weight; give at most that, or a"),
    ({"active_rows": (6, 101, 10)}, "--active_rows=101 is more than the 100 units in fc2.weight"),
    ({"draws": (4705, 400, 200)}, "--draws=4705 is more than the 4704 weights in the active rows of fc1.weight"),
])  # fmt: skip
def test_what_a_network_does_not_have(options, message):
    values = {name: tuple(map(Decimal, numbers)) for name, numbers in options.items()}
    pruner = make_pruner("random/structured", quota_options=values)
    for request in (pruner.score, pruner.check):
        with pytest.raises(UserError, match=message) as error:
            request(build("fc", FC))
        assert "\n" not in str(error.value)


def test_networks_of_one_and_two_layers():
    for count, expected in ((1, [(4, 6)]), (2, [(1, 1), (4, 3)])):
        shapes = [(8, 3), (4, 4)] if count == 2 else [(4, 8)]
        found = check_structured({str(i): torch.rand(shape) for i, shape in enumerate(shapes)})
        assert list(found.values()) == expected


# On the command line


def masks_of(results, *words: str) -> tuple[Masks, dict]:
    assert execute(results, *NETWORK, *words) == 0
    (row,) = (row for _, row in rows_of(results).iterrows() if row["pruner"] != "dense")
    return Masks.load(run_folder(results, row) / "masks.safetensors"), dict(row)


def test_the_network_of_the_program(tmp_path):
    masks, row = masks_of(tmp_path, "--pruner=random/structured", "--target_sparsity=0.932")
    assert row["pruner"] == "random/structured" and row["kept_direct"] == 119_400 - int(0.932 * 119_400)
    assert [int(mask.any(1).sum()) for mask in masks.values()] == [7, 31, 31, 31, 31, 10]
    expected = masks_of_sample(0, row["kept_direct"])
    assert all(torch.equal(mask, expected[name]) for name, mask in masks.items())


def masks_of_sample(sample: int, kept: int) -> Masks:
    from Utils import randomness

    model = build("fc", FC)
    scores = make_pruner("random/structured").score(model, generator=randomness.generator(sample, "random scores"))
    return allocate(model, scores, sparsity_of(kept), FC, "direct")


def test_other_tiles_and_rows(tmp_path):
    words = ["--draws", "50", "0.1", "0.1", "--active_rows=10,0.2,5", "--tile", "1", "4", "--target_sparsity=0.95"]
    masks, row = masks_of(tmp_path, "--pruner=random/structured", *words)
    assert [int(mask.any(1).sum()) for mask in masks.values()] == [10, 20, 20, 20, 20, 5]
    assert "draws=50,0.1,0.1" in row["settings"] and "tile=1,4" in row["settings"]


def test_an_effective_target(tmp_path):
    masks, row = masks_of(tmp_path, "--pruner=snip/structured", "--target_sparsity=0.95", "--pruning_type=effective")
    assert row["kept_effective"] >= 119_400 - int(0.95 * 119_400) and not masks["fc1.weight"][7:].any()


@pytest.mark.parametrize(("words", "message"), [
    (["--tile=2"], "--tile must be two numbers greater than 0, not 2"),
    (["--tile=0,3"], "--tile must be two numbers greater than 0, not 0,3"),
    (["--tile=2,3,4"], "--tile must be two numbers greater than 0"),
    (["--draws=0,1,1"], "--draws must be fractions up to 1, or whole numbers, not 0,1,1"),
    (["--draws=1.5,1,1"], "--draws must be fractions up to 1, or whole numbers"),
    (["--draws=1e999999999,1,1"], "--draws must be a finite number, not '1e999999999'"),
    (["--draws="], "--draws must be fractions up to 1, or whole numbers"),
    (["--active_rows=-1,1,1"], "--active_rows must be fractions up to 1, or whole numbers"),
    (["--active_rows=5,5"], "--active_rows needs three values, for the first, the hidden and the last layer, or one "),
    (["--active_rows=6,30,20"], "--active_rows=20 is more than the 10 units in fc6.weight"),
    (["--pruner=random", "--tile=1,1"], "--tile has no effect on pruner random, whose quota is not structured; leave"),
    (["--pruner=snip/igq", "--draws=1,1,1"], "--draws has no effect on pruner snip/igq, whose quota is not structured"),
    (["--pruner=dense", "--active_rows=1,1,1"], "--active_rows has no effect on pruner dense"),
])  # fmt: skip
def test_mistakes_are_one_line(words, message, tmp_path, capsys):
    pruner = [] if words[0].startswith("--pruner") else ["--pruner=random/structured"]
    assert execute(tmp_path / "results", *NETWORK, *pruner, *words) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
    assert not list((tmp_path / "results").rglob("run.json"))


def test_identity_and_what_a_dense_parent_shares():
    line = ["--architecture=fc", "--pruner=magnitude/structured"]
    plain, same, other = (
        runs(*line, *more)[0] for more in ([], ["--tile=2,3", "--draws=.12750,.1333,.2"], ["--tile=1,3"])
    )
    assert plain.key() == same.key() != other.key()
    assert [need.settings.key() for need in needs_of(plain)] == [need.settings.key() for need in needs_of(other)] != []
    both = runs("--architecture=fc", "--pruner", "random", "random/structured", "--tile=1,3")
    assert both[0].key() == runs("--architecture=fc", "--pruner=random")[0].key() and len(both) == 2


def test_every_criterion_goes_with_it():
    assert {f"{criterion}/structured" for criterion in settings.CRITERIA} <= set(settings.ALL_PRUNERS)
