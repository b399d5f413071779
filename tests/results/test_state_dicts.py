"""Checkpoints of every origin start a run; what is none, or would run code, is refused in one line."""

import os
import pickle
from pathlib import Path

import pytest
import torch
import torchvision
from conftest import rows_of, run_folder
from safetensors.torch import load_file, save_file
from torch.nn.utils import prune as torch_prune

import main
from Layers import Masks, prunable
from Models import build
from Utils.errors import UserError
from Utils.results import state_dicts
from Utils.results.state_dicts import content_key, read

QUICK = ["--data=digits", "--train=0", "--pruner=mag"]


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    model = build("lenet300100", generator=torch.Generator().manual_seed(77))
    return {name: value for name, value in model.state_dict().items() if not name.endswith("_mask")}


def started_from(tmp_path: Path, place: Path | str, *words: str) -> dict[str, torch.Tensor]:
    """The weights that a run which prunes nothing has kept."""
    out = tmp_path / "out"
    assert main.main([*QUICK, f"--weights_from={place}", f"--out_path={out}", "--target_sparsity=0", *words]) == 0
    (row,) = (row for _, row in rows_of(out).iterrows())
    return load_file(run_folder(out, row) / "weights.safetensors")


def wrapped(prefix: str):
    return lambda state: {f"{prefix}{name}": value for name, value in state.items()}


FORMS = {
    "plain": lambda state: state,
    "training checkpoint": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
    "model inside": lambda state: {"model": state},
    "data parallel": wrapped("module."),
    "compiled": wrapped("_orig_mod."),
    "both": wrapped("_orig_mod.module."),
    "without counts": lambda state: {k: v for k, v in state.items() if "num_batches" not in k},
    "lightning": wrapped("model."),
    "lightning, net, beside other keys": lambda state: {
        "state_dict": {
            **wrapped("net.")(state),
            "criterion.weight": torch.ones(10),
            "metric.total": torch.zeros(()),
        }
    },
    "average": lambda state: {"n_averaged": torch.tensor(3), **wrapped("module.")(state)},
    "average of a compiled one": lambda state: {"n_averaged": torch.tensor(3), **wrapped("module._orig_mod.")(state)},
    "ema": lambda state: {"epoch": 1, "state_dict_ema": state},
    "the weights, not their average": lambda state: {
        "state_dict": state,
        "state_dict_ema": {name: value * 0 for name, value in state.items()},
    },
    "state dict inside of a model": lambda state: {"model": {"state_dict": state, "step": 3}},
    "sparse": lambda state: {k: v.to_sparse() if v.dim() == 2 else v for k, v in state.items()},
    "double precision": lambda state: {k: v.double() if v.is_floating_point() else v for k, v in state.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_saved_state_dicts_in_every_form(tmp_path, weights, form):
    torch.save(FORMS[form](weights), tmp_path / "mine.pt")
    kept = started_from(tmp_path, tmp_path / "mine.pt")
    assert all(torch.equal(kept[name], weights[name]) for name in weights)


WRAPPED = """
from torch import nn


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 10))

    def forward(self, x):
        return self.model(x)


def network():
    return Wrapped()
"""


@pytest.mark.parametrize("form", ["run", "plain", "lightning", "data parallel", "average"])
def test_a_network_whose_own_names_have_a_prefix(tmp_path, form):
    """All its names begin with `model.`, which is no wrapper."""
    (tmp_path / "own.py").write_text(WRAPPED)
    network = ["--data=digits", f"--architecture={tmp_path / 'own.py'}:network", "--train=0"]
    assert main.main([*network, "--pruner=dense", f"--out_path={tmp_path / 'first'}"]) == 0
    ((_, row),) = rows_of(tmp_path / "first").iterrows()
    place: Path = run_folder(tmp_path / "first", row)
    stored = load_file(place / "weights.safetensors")
    assert all(name.startswith("model.") for name in stored)
    changed = {name: value + 1 for name, value in stored.items()}
    if form == "run":
        changed = stored
    else:
        place = tmp_path / "changed.pt"
        torch.save(FORMS[form](changed), place)
    more = ["--pruner=random", "--target_sparsity=0", "--sample=1", f"--weights_from={place}"]
    assert main.main([*network, *more, f"--out_path={tmp_path / 'second'}"]) == 0
    ((_, row),) = rows_of(tmp_path / "second").iterrows()
    loaded = load_file(run_folder(tmp_path / "second", row) / "weights.safetensors")
    assert loaded.keys() == stored.keys() and all(torch.equal(loaded[name], changed[name]) for name in stored)


def test_several_networks_in_one_file_are_refused(tmp_path, weights, capsys):
    torch.save({**wrapped("student.")(weights), **wrapped("teacher.")(weights)}, tmp_path / "both.pt")
    words = [*QUICK, f"--weights_from={tmp_path / 'both.pt'}", f"--out_path={tmp_path / 'out'}"]
    assert main.main(words) == 2
    assert "holds several such networks, student.* and teacher.*; save the state" in capsys.readouterr().err


def test_safetensors(tmp_path, weights):
    save_file(weights, tmp_path / "mine.safetensors")
    kept = started_from(tmp_path, tmp_path / "mine.safetensors")
    assert all(torch.equal(kept[name], weights[name]) for name in weights)


def test_masks_in_a_checkpoint_are_multiplied_in(tmp_path, weights):
    model = build("lenet300100")
    model.load_state_dict({**model.state_dict(), **weights})
    prunable(model)["fc2.weight"][1][:50] = False
    torch.save(model.state_dict(), tmp_path / "ours.pt")
    assert not read(tmp_path / "ours.pt")["fc2.weight"][:50].any()
    layer = torch_prune.random_unstructured(torch.nn.Linear(4, 3), "weight", 0.5)
    torch.save(layer.state_dict(), tmp_path / "theirs.pt")
    found = read(tmp_path / "theirs.pt")
    assert found.keys() == {"weight", "bias"} and torch.equal(found["weight"], layer.weight.detach())


def test_a_run_by_its_folder_and_by_its_name(tmp_path):
    out = tmp_path / "runs"
    words = ["--data=digits", "--pruner=dense", "--iterations=5", "--evaluate_every=5", f"--out_path={out}"]
    assert main.main(words) == 0
    (row,) = (row for _, row in rows_of(out).iterrows())
    folder = run_folder(out, row)
    trained = load_file(folder / "weights.safetensors")
    for place in (folder, row["run"], folder.name, folder / "weights.safetensors"):
        assert main.main([*QUICK, "--target_sparsity=0.5", f"--weights_from={place}", f"--out_path={out}"]) == 0
    rows = rows_of(out)
    assert len(rows) == 2, "the same weights from anywhere are the same run"
    pruned = rows[rows["pruner"] == "mag"].iloc[0]
    kept = load_file(run_folder(out, pruned) / "weights.safetensors")
    masks = Masks.load(run_folder(out, pruned) / "masks.safetensors")
    every = torch.cat([trained[name].abs().flatten() for name in masks])
    threshold = every.kthvalue(len(every) // 2).values
    for name, mask in masks.items():
        assert torch.equal(mask, trained[name].abs() > threshold) and torch.equal(kept[name], trained[name] * mask)


def test_magnitude_scores_the_given_weights_and_trains_nothing_first(tmp_path, weights, capsys):
    save_file(weights, tmp_path / "mine.safetensors")
    words = ["--data=digits", "--train=0", f"--weights_from={tmp_path / 'mine.safetensors'}", f"--out_path={tmp_path}"]
    assert main.main([*words, "--pruner=magnitude,mag"]) == 0
    rows = rows_of(tmp_path)
    assert set(rows["pruner"]) == {"magnitude", "mag"} and "training" not in capsys.readouterr().out
    first, second = (Masks.load(run_folder(tmp_path, row) / "masks.safetensors") for _, row in rows.iterrows())
    assert first == second


def test_a_checkpoint_of_torchvision(tmp_path):
    plain = torchvision.models.resnet18(num_classes=10)
    torch.save(plain.state_dict(), tmp_path / "resnet18.pth")
    kept = started_from(tmp_path, tmp_path / "resnet18.pth", "--architecture=imagenet/resnet18", "--image_size=32")
    assert all(torch.equal(kept[name], value) for name, value in plain.state_dict().items())


def test_the_content_names_the_run(tmp_path, weights):
    save_file(weights, tmp_path / "a.safetensors")
    save_file(weights, tmp_path / "b.safetensors")
    assert content_key(tmp_path / "a.safetensors") == content_key(tmp_path / "b.safetensors")
    started_from(tmp_path, tmp_path / "a.safetensors")
    weights["fc1.weight"] = weights["fc1.weight"] + 1
    save_file(weights, tmp_path / "b.safetensors")
    out = tmp_path / "out"
    assert main.main([*QUICK, f"--weights_from={tmp_path / 'b.safetensors'}", f"--out_path={out}"]) == 0
    assert len(rows_of(out)) == 2


class Harm:
    def __reduce__(self):
        return os.system, ("touch harm",)


def damage(tmp_path: Path, state: dict[str, torch.Tensor]) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.pt" for name in ("code", "pickle", "text", "empty", "cut", "number", "nothing")}
    torch.save({"state_dict": state, "extra": Harm()}, paths["code"])
    paths["table"] = tmp_path / "table.csv"
    paths["table"].write_text("run,status,error\n12,complete,\n")
    paths["pickle"].write_bytes(pickle.dumps(Harm()))
    paths["text"].write_text("hello")
    paths["empty"].write_bytes(b"")
    torch.save(state, paths["cut"])
    paths["cut"].write_bytes(paths["cut"].read_bytes()[:5000])
    torch.save(3, paths["number"])
    torch.save({"epoch": 3}, paths["nothing"])
    paths["safetensors"] = tmp_path / "text.safetensors"
    paths["safetensors"].write_text("hello")
    others = {
        "lacks": {k: v for k, v in state.items() if k != "fc2.bias"},
        "extra": {**state, "head.weight": torch.ones(2)},
        "shape": {**state, "fc3.weight": torch.ones(7, 100)},
        "integers": {k: v.int() if "fc2" in k else v for k, v in state.items()},
        "masks": {**state, "fc1.weight_mask": torch.ones(3, dtype=torch.bool)},
        "nan": {**state, "fc1.bias": torch.full((300,), torch.nan)},
    }
    for name, other in others.items():
        paths[name] = tmp_path / f"{name}.pt"
        torch.save(other, paths[name])
    return paths


MESSAGES = {
    "code": "could run code", "pickle": "could run code", "text": "not a PyTorch checkpoint",
    "empty": "not a PyTorch checkpoint", "table": "not a PyTorch checkpoint", "cut": "is damaged",
    "number": "holds int, not a state dict",
    "nothing": "no named tensors", "safetensors": "is damaged, or not a safetensors file", "lacks": "it lacks fc2.bias",
    "extra": "it has unexpected head.weight", "shape": "fc3.weight has shape (7, 100) there, (10, 100) here",
    "nan": "fc1.bias has entries that are not finite", "masks": "fc1.weight_mask has shape (3,), fc1.weight (300, 784)",
    "integers": "holds torch.int32, not floating-point numbers",
}  # fmt: skip


@pytest.mark.parametrize("kind", MESSAGES)
def test_what_is_no_checkpoint_is_refused_and_runs_nothing(tmp_path, weights, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    path = damage(tmp_path, weights)[kind]
    assert main.main([*QUICK, f"--weights_from={path}", "--out_path=out"]) == 2
    error = capsys.readouterr().err
    assert MESSAGES[kind] in error and error.count("\n") == 1 and not (tmp_path / "harm").exists()
    assert not list(Path("out").rglob("run.json"))


def test_places_that_hold_no_weights(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a file, a run's folder, or the name of a run in"):
        state_dicts.find("nowhere", str(tmp_path))
    with pytest.raises(UserError, match=r"has no weights\.safetensors"):
        state_dicts.find(str(tmp_path), str(tmp_path))
    for name in ("1_abc", "2_abc"):
        folder = tmp_path / "a" / "b" / "c" / "d" / "e" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
    with pytest.raises(UserError, match="the name of several runs"):
        state_dicts.find("abc", str(tmp_path))
