"""Masks as values: algebra against Python sets, files of one bit per weight."""

import numpy as np
import pytest
import torch
from conftest import shared
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from Layers import MaskedLinear, Masks
from Models import build
from Utils.connectivity import effective_masks


@st.composite
def pairs(draw):
    shapes = draw(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9)), min_size=1, max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))

    def one() -> Masks:
        return Masks({f"layer{i}.weight": torch.rand(s, generator=generator) < 0.5 for i, s in enumerate(shapes)})

    return one(), one()


def as_set(masks: Masks) -> set:
    return {(name, *index) for name, mask in masks.items() for index in mask.nonzero().tolist()}


@settings(max_examples=50, deadline=None)
@given(pairs())
def test_algebra_is_that_of_sets(pair):
    a, b = pair
    left, right = as_set(a), as_set(b)
    assert as_set(a | b) == left | right and as_set(a & b) == left & right and as_set(a - b) == left - right
    assert len(as_set(~a)) == a.total - len(left) and as_set(~a).isdisjoint(left)
    assert a.kept == len(left)
    union = len(left | right)
    assert a.overlap(b) == (len(left & right) / union if union else 1)
    for name, overlap in a.layer_overlap(b).items():
        mine, other = as_set(Masks({name: a[name]})), as_set(Masks({name: b[name]}))
        assert overlap == (len(mine & other) / len(mine | other) if mine | other else 1)


@settings(max_examples=30, deadline=None)
@given(pairs())
def test_files_hold_one_bit_per_weight(tmp_path_factory, pair):
    path = tmp_path_factory.mktemp("masks") / "masks.safetensors"
    masks, other = pair
    masks.save(path)
    loaded = Masks.load(path)
    assert loaded == masks and loaded.content_hash() == masks.content_hash() and list(loaded) == sorted(masks)
    assert (masks == other) == (masks.content_hash() == other.content_hash())


def test_size_of_a_file(tmp_path):
    masks = Masks.of(build("lenet300100"))
    masks.save(tmp_path / "masks")
    assert 266_200 / 8 <= (tmp_path / "masks").stat().st_size < 266_200 / 8 + 1000


def test_shuffle_keeps_counts_and_moves_masks():
    model = build("lenet5")
    masks = Masks({name: torch.rand(mask.shape) < 0.3 for name, mask in Masks.of(model).items()})
    shuffled = masks.shuffle(torch.Generator().manual_seed(1))
    assert [int(m.sum()) for m in shuffled.values()] == [int(m.sum()) for m in masks.values()]
    assert all(not torch.equal(shuffled[name], masks[name]) for name in masks)
    assert shuffled == masks.shuffle(torch.Generator().manual_seed(1))


@given(st.lists(st.booleans(), min_size=1, max_size=4), st.integers(0, 50))
def test_shuffle_changes_every_mask_that_can_change(kept, seed):
    masks = Masks({"a": torch.tensor(kept)})
    shuffled = masks.shuffle(torch.Generator().manual_seed(seed))
    assert shuffled.kept == masks.kept and (shuffled != masks) == (any(kept) and not all(kept))


def test_masks_are_validated(tmp_path):
    with pytest.raises(ValueError, match=r"'a' must be a bool tensor, not torch\.float32"):
        Masks({"a": torch.ones(2)})
    one = Masks({"a": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(ValueError, match="these lack b; the others a"):
        one | Masks({"b": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"shape \(2,\), not \(3,\)"):
        one & Masks({"a": torch.ones(3, dtype=torch.bool)})
    for content in (b"", b"no masks", Masks({}).to_bytes()[:5]):
        (tmp_path / "broken").write_bytes(content)
        with pytest.raises(ValueError, match="broken is not a mask file"):
            Masks.load(tmp_path / "broken")


def test_install_changes_nothing_if_anything_is_wrong():
    model = nn.Sequential(MaskedLinear(2, 2), MaskedLinear(2, 3))
    before = Masks.of(model)
    wrong = {name: ~mask for name, mask in before.items()} | {"1.weight": torch.zeros(2, 2, dtype=torch.bool)}
    with pytest.raises(ValueError, match="shape"):
        Masks(wrong).install(model)
    assert Masks.of(model) == before
    (~before).install(model)
    assert Masks.of(model).kept == 0


@pytest.mark.parametrize(
    ("file", "architecture", "shape"),
    [
        ("lenet300100_random-erk_0.99.npz", "lenet300100", (1, 28, 28)),
        ("lenet5_random-erk_0.95.npz", "lenet5", (3, 32, 32)),
    ],
)
def test_effective_masks_equal_those_of_the_original_program(file, architecture, shape):
    archive = np.load(shared(f"golden/{file}"))
    model = build(architecture)
    kinds: dict[str, dict] = {}
    for key in archive.files:
        kind, index, field = key.replace("/", "|").split("|")
        kinds.setdefault(kind, {}).setdefault(int(index), {})[field] = archive[key]
    found = {}
    for kind, tensors in kinds.items():
        masks = {}
        for name, (_, entry) in zip(Masks.of(model), sorted(tensors.items()), strict=True):
            bits = np.unpackbits(entry["bits"], count=int(np.prod(entry["shape"])))
            masks[name] = torch.from_numpy(bits.astype(bool)).reshape(tuple(entry["shape"]))
        found[kind] = Masks(masks)
    assert Masks(effective_masks(model, shape, found["direct"])) == found["eff_synflow"]
    assert Masks(effective_masks(model, shape, found["direct"], "graph")) == found["eff_custom"]
    assert (found["eff_synflow"] - found["direct"]).kept == 0 < found["eff_synflow"].kept
