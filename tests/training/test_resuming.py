"""A run that is killed goes on from its last checkpoint, and ends with the very rows of one that was not."""

import io
from pathlib import Path

import pandas as pd
import pytest
import torch
from commands import kill_after

import main
from Utils.errors import UserError
from Utils.results import load_summaries
from Utils.results.store import Store
from Utils.training import context

QUICK = ["--data=digits", "--iterations=120", "--evaluate_every=40", "--threads=1"]
SECONDS = ["prune_seconds", "train_seconds", "seconds"]
EXPERIMENTS = {
    "dropout and adam": ["--architecture=imagenet/squeezenet1_1", "--iterations=6", "--optimizer=adam", "--lr=0.001",
                         "--image_size=32", "--batch_size=16", "--evaluate_every=3"],
    "nesterov, batch normalisation, validation": ["--optimizer=nesterov", "--validation=100", "--augmentation=rotation",
                                                  "--pruner=random/igq", "--target_sparsity=0.95"],
    "trained scores": ["--pruner=magnitude/erk"],
    "multishot": ["--experiment=multishot", "--levels=2", "--rewind=50", "--reinitialize", "--pruner=magnitude"],
    "gradual": ["--experiment=gradual", "--pruner=random", "--prune_every=7", "--ramp=half-cycle"],
    "gradual, carried": ["--experiment=gradual", "--pruner=magnitude", "--prune_every=7", "--carry_mask"],
    "union-mask": ["--experiment=union-mask", "--pruner=magnitude", "--prune_every=5", "--cycles=4"],
    "dynamic, random": ["--experiment=dynamic", "--pruner=random/erk", "--exchange_every=11", "--grow=random"],
    "dynamic, gradient": ["--experiment=dynamic", "--pruner=random", "--exchange_every=11"],
    "train-then-prune": ["--experiment=train-then-prune", "--architecture=mlp", "--iterations=60", "--l2_reg=0.001",
                         "--evaluate_every=20"],
    "imp-conservation": ["--experiment=imp-conservation", "--weight_init=xavier-normal", "--evaluate_every=15"],
    "two parts, bf16": ["--accumulate=2", "--precision=bf16"],
}  # fmt: skip


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Every table below a results folder, seconds aside."""
    paths = sorted(folder.rglob("*.csv"))
    return {str(path.relative_to(folder)): pd.read_csv(path).drop(columns=SECONDS, errors="ignore") for path in paths}


def check_same(one: Path, other: Path) -> None:
    found, expected = tables(one), tables(other)
    assert found.keys() == expected.keys() and found
    for name, table in found.items():
        pd.testing.assert_frame_equal(table, expected[name], check_exact=True)
    for path in one.rglob("*.safetensors"):
        assert path.read_bytes() == (other / path.relative_to(one)).read_bytes(), path
    assert not list(one.rglob("checkpoint-*")) + list(one.rglob("*.partial"))


SIMILAR = ("trained scores", "gradual, carried", "dynamic, gradient", "train-then-prune")


@pytest.mark.parametrize(("name", "number"), [
    *((name, 1) for name in EXPERIMENTS if name not in SIMILAR),
    *(pytest.param(name, 1, marks=pytest.mark.slow) for name in SIMILAR),
    *(pytest.param(name, 3, marks=pytest.mark.slow) for name in EXPERIMENTS),
])  # fmt: skip
def test_every_experiment_goes_on_as_if_nothing_had_been(tmp_path, monkeypatch, name, number):
    words = [*QUICK, *EXPERIMENTS[name]]
    every = 2 if "--iterations=6" in words else 17
    check_resumed(tmp_path, monkeypatch, words, every, number)


SEARCH = [
    "--data=digits", "--experiment=supermask", "--architecture=gem-miner/fc", "--image_size=8", "--batch_size=479",
    "--epochs=5", "--threads=1",
]  # fmt: skip
SEARCHES = {
    "probabilistic": ["--freeze_every=1", "--rounding=probabilistic", "--score_init=bernoulli", "--target_density=0.9",
                      "--sanity_checks", "shuffle", "random"],
    "soft": ["--freeze_every=1", "--quantize=0", "--clamp_forward", "--optimizer=adam", "--unflag"],
    "effective": ["--freeze_every=2", "--pruning_type=effective", "--fine_tune_optimizer=adam", "--precision=bf16"],
    "iterative": ["--algorithm=iterative-edge-popup", "--freeze_every=1", "--fine_tune_length=0.5"],
    "smart-ratio": ["--algorithm=smart-ratio", "--sanity_checks", "invert"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "number"), [
    ("probabilistic", 1), ("probabilistic", 3), ("probabilistic", 8), ("probabilistic", 11), ("probabilistic", 20),
    ("probabilistic", 28), ("soft", 5), ("effective", 6), ("iterative", 4), ("iterative", 10), ("smart-ratio", 2),
    ("smart-ratio", 10),
])  # fmt: skip
def test_a_search_for_a_mask_goes_on_in_each_of_its_trainings(tmp_path, monkeypatch, name, number):
    """Of 15 steps each, with eight checkpoints: the third follows a freezing."""
    check_resumed(tmp_path, monkeypatch, [*SEARCH, *SEARCHES[name]], 2, number)


@pytest.mark.parametrize("number", [3, 10])
@pytest.mark.parametrize("name", ["nesterov, batch normalisation, validation", "multishot"])
def test_a_branch_goes_on_in_either_training(tmp_path, monkeypatch, name, number):
    """The third checkpoint of a training is the first that holds the state of step 50."""
    words = [*QUICK, *EXPERIMENTS[name], "--branch_at=50"]
    if name == "multishot":
        words, number = [*words, "--levels=1"], number + 8  # of level 0
    check_resumed(tmp_path, monkeypatch, words, 17, number)


def check_resumed(tmp_path: Path, monkeypatch, words: list[str], every: int, number: int) -> None:
    """Check that a run that is killed after so many checkpoints resumes, and ends like one that is not."""
    assert main.main([*words, f"--out_path={tmp_path}/calm"]) == 0
    kill_after(monkeypatch, number, [*words, f"--checkpoint_every={every}", f"--out_path={tmp_path}/killed"])
    assert list((tmp_path / "killed").rglob("checkpoint-*.pt"))
    read: list[bool] = []
    load = context.TrainingStage.load_checkpoint

    def recorded(self):
        checkpoint = load(self)
        read.append(checkpoint is not None)
        return checkpoint

    monkeypatch.setattr(context.TrainingStage, "load_checkpoint", recorded)
    assert main.main([*words, f"--checkpoint_every={every}", f"--out_path={tmp_path}/killed"]) == 0
    assert read[0], "it started again"
    check_same(tmp_path / "killed", tmp_path / "calm")


def test_a_training_that_is_over_is_not_made_again(tmp_path, monkeypatch):
    words = [*QUICK, *EXPERIMENTS["multishot"], "--checkpoint_every=1000", f"--out_path={tmp_path}"]
    kill_after(monkeypatch, 3, words)  # at the end of the third training
    steps: list[int] = []
    original = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self, *rest: (steps.append(1), original(self, *rest))[1])
    assert main.main(words) == 0
    assert len(steps) == (120 - 50) + 120  # the last level, rewound and from new weights


def cut(content: bytes, _: Path) -> bytes:
    return content[:-100]


def flip_a_weight(content: bytes, _: Path) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :]


def of_another_sample(_: bytes, other: Path) -> bytes:
    return other.read_bytes()


def of_another_program(_: bytes, __: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"iteration": 50}, buffer)
    return buffer.getvalue()


def test_a_checkpoint_of_another_version_of_pytorch_starts_the_training_again(tmp_path, monkeypatch, capsys):
    """Its initial weights, from which masks are computed again, may be others."""
    words = [*QUICK, "--checkpoint_every=50", f"--out_path={tmp_path}"]
    kill_after(monkeypatch, 1, words)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "2.6.1")
        assert main.main(words) == 0
    assert "another version of this program or of PyTorch; this training restarts" in capsys.readouterr().err


@pytest.mark.parametrize("change", [cut, flip_a_weight, of_another_sample, of_another_program])
def test_a_damaged_checkpoint_starts_the_training_again_and_says_so(tmp_path, monkeypatch, capsys, change):
    words = [*QUICK, "--checkpoint_every=50", f"--out_path={tmp_path}/killed"]
    kill_after(monkeypatch, 1, words)
    kill_after(monkeypatch, 1, [*QUICK, "--checkpoint_every=50", f"--out_path={tmp_path}/other", "--sample=1"])
    (path,), (other,) = (sorted((tmp_path / name).rglob("checkpoint-*.pt")) for name in ("killed", "other"))
    path.write_bytes(change(path.read_bytes(), other))
    capsys.readouterr()
    assert main.main(words) == 0
    assert "checkpoint-training.pt is damaged" in capsys.readouterr().err
    assert main.main([*QUICK, f"--out_path={tmp_path}/calm"]) == 0
    check_same(tmp_path / "killed", tmp_path / "calm")


def test_a_checkpoint_runs_no_code(tmp_path, monkeypatch, capsys):
    class Evil:
        def __reduce__(self):
            return (Path(tmp_path / "evil").touch, ())

    words = [*QUICK, "--checkpoint_every=50", f"--out_path={tmp_path}/killed"]
    kill_after(monkeypatch, 1, words)
    (path,) = tmp_path.rglob("checkpoint-*.pt")
    heard: list = []
    # With the digest that one of ours would have, which anybody can compute.
    context.RunContext(heard.append, run_key=path.parent.name.rpartition("_")[2]).stage("training").save_checkpoint(
        {"iteration": Evil()}
    )
    path.write_bytes(heard[0].content)
    assert main.main(words) == 0
    assert "checkpoint-training.pt is damaged" in capsys.readouterr().err and not (tmp_path / "evil").exists()


def test_overwriting_starts_from_the_beginning(tmp_path, monkeypatch):
    words = [*QUICK, "--checkpoint_every=50", f"--out_path={tmp_path}"]
    kill_after(monkeypatch, 1, words)
    loads: list[object] = []
    monkeypatch.setattr(context.torch, "load", lambda *rest, **options: loads.append(rest))
    assert main.main([*words, "--overwrite"]) == 0
    assert not loads and len(load_summaries(tmp_path)) == 1


def test_by_default_a_checkpoint_is_kept_every_few_minutes(tmp_path, monkeypatch):
    kept: list[str] = []
    monkeypatch.setattr(Store, "write_checkpoint", lambda self, settings, name, content: kept.append(name))
    assert main.main([*QUICK, f"--out_path={tmp_path}"]) == 0
    assert not kept, "no time has passed"
    monkeypatch.setattr(context, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    assert main.main([*QUICK, "--sample=1", f"--out_path={tmp_path}"]) == 0
    assert set(kept) == {"checkpoint-training.pt"}
    kept.clear()
    assert main.main([*QUICK, "--sample=2", "--checkpoint_every=0", f"--out_path={tmp_path}"]) == 0
    assert not kept


def test_a_checkpoint_that_cannot_be_kept_stops_nothing(tmp_path, monkeypatch, capsys):
    from Utils.results import store

    def full(path, content):
        raise UserError("cannot write: no room")

    monkeypatch.setattr(store, "replace_file", full)
    assert main.main([*QUICK, "--checkpoint_every=50", "--sample=0,1", f"--out_path={tmp_path}"]) == 0
    assert capsys.readouterr().err.count("continues without a checkpoint: cannot write: no room") == 1
    assert len(load_summaries(tmp_path)) == 2
