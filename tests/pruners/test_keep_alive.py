"""Keep-alive: no layer without an effective weight."""

from pathlib import Path

import pandas as pd
import pytest
import settings
from conftest import OWN_NETWORK, masks_and_weights, rows_of
from networks import make
from scored import network, pruner_scores

import main
from Layers import Masks, prunable
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Pruners.keep_alive import keep_alive
from Utils.connectivity import effective_masks
from Utils.errors import UserError
from Utils.sparsity.measure import measure

OWN = f"{OWN_NETWORK}:residual"


UNTRAINED = ["--data=digits", "--iterations=0"]


def call(tmp_path: Path, *words: str) -> pd.DataFrame:
    assert main.main([*UNTRAINED, *words, f"--out_path={tmp_path}"]) == 0
    return rows_of(tmp_path)


@pytest.mark.parametrize("pruning_type", ["direct", "effective"])
@pytest.mark.parametrize(("name", "architecture", "sparsity"), [
    ("random", "lenet300100", "0.9998"), ("mag", "lenet5", "0.998"), ("snip", "lenet5", "0.998"),
    ("random/uniform", "lenet5", "0.9995"),
])  # fmt: skip
def test_no_layer_empties(pruning_type, name, architecture, sparsity):
    model, shape = network(architecture), settings.NETWORKS[architecture]
    scores = pruner_scores(name, architecture, "0.95")
    plain = allocate(model, scores, sparsity, shape, pruning_type)
    found = keep_alive(model, scores, sparsity, shape, pruning_type)
    masks = allocate(model, found, sparsity, shape, pruning_type)
    effective = effective_masks(model, shape, masks)
    assert all(bool(mask.any()) for mask in effective.values())
    total = settings.PRUNABLE[architecture][0]
    wanted = total - int(total * float(sparsity))
    if pruning_type == "direct":
        assert masks.kept == wanted == plain.kept
        assert any(not mask.any() for mask in effective_masks(model, shape, plain).values()), "else nothing to do"
        assert len(prunable(model)) >= masks.kept - (masks & plain).kept, "only one path takes the place of others"
    else:
        assert Masks(effective).kept >= wanted


@pytest.mark.parametrize("name", ["residual", "concatenation", "gate", "grouped", "max-pooled"])
def test_paths_are_found_through_every_kind_of_connection(name):
    model, shape = make(name)
    scores = make_pruner("random").score(model)
    total = sum(score.numel() for score in scores.values())
    sparsity = f"{1 - (len(scores) + 6) / total:.6f}"
    found = keep_alive(model, scores, sparsity, shape, "direct")
    masks = allocate(model, found, sparsity, shape, "direct")
    assert all(bool(mask.any()) for mask in effective_masks(model, shape, masks).values())


def test_paths_of_more_weights_than_may_be_kept_are_refused(tmp_path, capsys):
    model, shape = network("lenet5"), (3, 32, 32)
    scores = pruner_scores("random", "lenet5", "0.95")
    with pytest.raises(UserError, match=r"5 of 61770 weights may not be pruned, 1 of them in conv1\.weight"):
        keep_alive(model, scores, "0.99995", shape, "direct")
    assert allocate(model, keep_alive(model, scores, "0.9999", shape, "direct"), "0.9999", shape, "direct").kept == 7
    words = ["--pruner=random", "--keep_alive", "--architecture=lenet5", "--data=digits", "--train=0"]
    assert main.main([*words, "--target_sparsity=0.99995", f"--out_path={tmp_path}"]) == 2
    assert "the highest direct sparsity is 0.9999" in capsys.readouterr().err


def test_keep_alive_by_command_line(tmp_path):
    rows = call(tmp_path, "--pruner=mag", "--keep_alive", "--com_exp=4", "--architecture=lenet5")
    assert list(rows["empty_layers"]) == [0] and not rows["collapsed"].iloc[0] and list(rows["kept_direct"]) == [7]
    plain = call(tmp_path / "plain", "--pruner=mag", "--com_exp=4", "--architecture=lenet5")
    assert plain["empty_layers"].iloc[0] > 0
    model = build("lenet5")
    masks_and_weights(tmp_path, rows.iloc[0])[0].install(model)
    assert measure(model, (3, 32, 32)).totals["dead_units"] > 0


def test_keep_alive_leaves_what_a_quota_fixes():
    model, shape = network("lenet5"), (3, 32, 32)
    scores = pruner_scores("random/uniform_plus", "lenet5", "0.9")
    found = keep_alive(model, scores, "0.9895", shape, "direct")
    masks = allocate(model, found, "0.9895", shape, "direct")
    assert masks["conv1.weight"].all() and int(masks["fc3.weight"].sum()) >= 168
    assert all(bool(mask.any()) for mask in effective_masks(model, shape, masks).values())
