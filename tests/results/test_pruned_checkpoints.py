"""Checkpoints that were pruned elsewhere: their zeros become masks, or are told of."""

from pathlib import Path

import pytest
import torch
from conftest import rows_of, run_folder
from safetensors.torch import load_file
from torch.nn.utils import prune as torch_prune

import main
from Layers import Masks, add_masks, prunable, unmask
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate

WORDS = ["--data=digits", "--train=0", "--architecture=lenet300100"]


@pytest.fixture
def pruned() -> tuple[torch.nn.Module, Masks]:
    """A network of which 90% is pruned, and its masks."""
    model = build("lenet300100", generator=torch.Generator().manual_seed(3))
    masks = allocate(model, make_pruner("mag").score(model), 0.9, (1, 28, 28), "direct")
    masks.install(model)
    return model, masks


def plain_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(unmask(model).state_dict())


def float_masks(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """As the synaptic-flow program saves them."""
    return {name: value.float() for name, value in model.state_dict().items()}


def torch_pairs(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """As torch.nn.utils.prune saves them."""
    masks = {name: mask.clone() for name, (_, mask) in prunable(model).items()}
    for name, mask in masks.items():
        layer = unmask(model).get_submodule(name.rpartition(".")[0])
        torch_prune.custom_from_mask(layer, "weight", mask)
    return dict(model.state_dict())


@pytest.mark.parametrize("form", [plain_state, float_masks, torch_pairs, lambda model: {
    "state_dict": {f"module.{name}": value for name, value in plain_state(model).items()}
}])  # fmt: skip
def test_zeros_of_a_state_dict_are_masks(tmp_path, pruned, form, recwarn):
    model, masks = pruned
    torch.save(form(model), tmp_path / "pruned.pt")
    place = [f"--masks_from={tmp_path / 'pruned.pt'}", f"--weights_from={tmp_path / 'pruned.pt'}"]
    assert main.main([*WORDS, "--pruner=dense", *place, f"--out_path={tmp_path}"]) == 0
    ((_, row),) = rows_of(tmp_path).iterrows()
    assert row["kept_direct"] == masks.kept == 26_620
    assert Masks.load(run_folder(tmp_path, row) / "masks.safetensors") == masks
    assert not any("exactly 0" in str(warning.message) for warning in recwarn)


def test_weights_with_many_zeros_are_told_of(tmp_path, pruned, capsys):
    words = [*WORDS, f"--out_path={tmp_path}"]
    torch.save(plain_state(pruned[0]), tmp_path / "pruned.pt")
    assert main.main([*words, "--pruner=dense", f"--weights_from={tmp_path / 'pruned.pt'}"]) == 0
    errors = capsys.readouterr().err
    assert errors.count("90.0% of the prunable entries are exactly 0 and count as kept") == 1, errors
    assert f"--masks_from={tmp_path / 'pruned.pt'} prunes them" in errors
    torch.save(build("lenet300100").state_dict(), tmp_path / "dense.pt")
    assert main.main([*words, "--pruner=mag", f"--weights_from={tmp_path / 'dense.pt'}"]) == 0
    assert "exactly 0" not in capsys.readouterr().err


def test_masks_alone_leave_the_weights(tmp_path, pruned):
    torch.save(plain_state(pruned[0]), tmp_path / "pruned.pt")
    for name in ("one", "other"):
        place = [f"--masks_from={tmp_path / 'pruned.pt'}"] if name == "one" else []
        assert main.main([*WORDS, "--pruner=dense", *place, f"--out_path={tmp_path / name}"]) == 0
    kept, every = weights_of(tmp_path / "one"), weights_of(tmp_path / "other")
    masks = pruned[1]
    assert all(torch.equal(kept[name], every[name] * masks[name]) for name in masks)


def weights_of(results: Path) -> dict[str, torch.Tensor]:
    ((_, row),) = rows_of(results).iterrows()
    return load_file(run_folder(results, row) / "weights.safetensors")


def test_masks_from_zeros():
    model = build("lenet300100", generator=torch.Generator().manual_seed(0))
    add_masks(model, "bias")
    weight, mask = prunable(model)["fc1.weight"]
    weight.detach()[:7] = 0
    mask[:, 0] = False
    masks = Masks.from_zeros(model)
    assert not masks["fc1.weight"][:7].any() and not masks["fc1.weight"][:, 0].any()
    assert masks["fc1.weight"].sum() == 293 * 783 and masks["fc1.bias"].all() and masks["fc2.weight"].all()
    assert mask.sum() == 300 * 783, "the model is not changed"


def test_a_damaged_mask_file_is_no_checkpoint(tmp_path, pruned, capsys):
    """Its own error, not that of a state dict that lacks all names."""
    content = pruned[1].to_bytes()
    assert content.count(b"[300,784]" if b"[300,784]" in content else b"[300, 784]") == 1
    (tmp_path / "masks.safetensors").write_bytes(content.replace(b"[300, 784]", b"[300, 984]"))
    words = ["--pruner=mag", f"--masks_from={tmp_path / 'masks.safetensors'}", f"--out_path={tmp_path / 'out'}"]
    assert main.main([*WORDS, *words]) == 2
    errors = capsys.readouterr().err
    assert "masks.safetensors is damaged, or not a mask file (a mask of shape [300, 984] cannot have" in errors
