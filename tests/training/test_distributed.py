"""Several processes that train one network, against a single one; gradients summed over parts of a batch."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from conftest import ROOT, rows_of, run_folder
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn
from torchvision.ops import StochasticDepth

import main
import Utils.campaign.executors.process_group as executor
from Layers import add_masks
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Utils.campaign.jobs import Job
from Utils.config.settings import Settings
from Utils.data import dataset
from Utils.data.image_spec import ImageSpec
from Utils.distributed.process_group import Share, agree, is_first, parallel, share
from Utils.distributed.synchronised_layers import SynchronisedLayers
from Utils.errors import UserError

WORDS = [
    "--data=digits", "--iterations=1", "--evaluate_every=1", "--lr=0.01", "--batch_size=33",
    "--augmentation=crop-flip", "--target_sparsity=0.5",
]  # fmt: skip


LOCAL = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
"""A machine without network has that interface, too."""


def torchrun(*words: str, processes: int = 2) -> subprocess.CompletedProcess:
    """A command line in several processes."""
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "main.py"]
    environment = {**os.environ, **LOCAL, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, *start, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


@given(count=st.integers(0, 300), parts=st.integers(1, 5), of=st.integers(1, 9))
def test_shares_of_all_processes_make_the_batch(count, parts, of):
    shares = [Share(number, of).positions(count, parts) for number in range(of)]
    for part in range(parts):
        together = [place for positions in shares for place in positions[part]]
        assert together == list(range(count * part // parts, count * (part + 1) // parts))
        sizes = [len(positions[part]) for positions in shares]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("augmentation", ["none", "rotation", "shift-flip", "crop-flip"])
def test_places_have_the_images_of_the_whole_batch(augmentation):
    found = dataset.load("digits", "none", ImageSpec((1, 28, 28)))
    whole, part = found.training_batches(0, 20, augmentation), found.training_batches(0, 20, augmentation, [3, 4, 17])
    for _ in range(75):
        (images, labels), (some, theirs) = next(whole), next(part)
        torch.testing.assert_close(some, images[[3, 4, 17]], atol=1e-6, rtol=0)
        assert torch.equal(theirs, labels[[3, 4, 17]])


def test_a_single_process_agrees_with_itself():
    assert agree(lambda: 3) == 3
    assert share() == Share(0, 1) and is_first()


def random_network() -> nn.Module:
    """Every layer that draws numbers in training, on maps and on units, and twice as many rows as images."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Dropout(0.3), nn.BatchNorm2d(8), StochasticDepth(0.4, "row"), nn.Dropout2d(0.3),
        StochasticDepth(0.1, "batch"), nn.AdaptiveAvgPool2d(2), nn.Flatten(2), nn.Dropout1d(0.2), nn.Flatten(0, 1),
        nn.Dropout(0.5), nn.Linear(4, 4), nn.Unflatten(0, (-1, 8)), nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, 10),
    )  # fmt: skip


def residual_network() -> nn.Module:
    """Batch normalisation, masks and all."""
    model = build("lottery/resnet20", generator=torch.Generator().manual_seed(0))
    add_masks(model, "batchnorm")
    allocate(model, make_pruner("random").score(model), 0.5, (3, 32, 32), "direct").install(model)
    return model


def step_in_double_precision(
    number: int, of: int, place: str, make: Callable, parts: int, device: str = "cpu"
) -> dict[str, torch.Tensor]:
    """Gradients and statistics of one step of this process's share of a batch."""
    if of > 1:
        os.environ.update(LOCAL)
        dist.init_process_group("gloo", f"file://{place}/meeting", rank=number, world_size=of)
    model = make()
    images, labels = torch.rand(14, 3, 32, 32, generator=torch.Generator().manual_seed(1)), torch.arange(14) % 10
    images = images.to(device).double().contiguous(memory_format=torch.channels_last)
    labels = labels.to(device)
    model = model.to(device).double().train().to(memory_format=torch.channels_last)
    network, joint = parallel(model), SynchronisedLayers(model, 14, parts)
    torch.manual_seed(2)
    for part, positions in enumerate(share().positions(14, parts)):
        with joint.passing(part):
            outputs = network(images[positions])
        (F.cross_entropy(outputs, labels[positions]) * (len(positions) * of / 14)).backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    found |= {name: value.double() for name, value in model.named_buffers() if not name.endswith("_mask")}
    if of > 1:
        torch.save(found, f"{place}/{number}")
        dist.destroy_process_group()
    return found


@pytest.mark.parametrize(("make", "parts"), [
    (residual_network, 1), pytest.param(random_network, 1, marks=pytest.mark.slow), (random_network, 2),
])  # fmt: skip
def test_gradients_and_statistics_are_those_of_the_whole_batch(tmp_path, make, parts):
    torch.multiprocessing.spawn(step_in_double_precision, (3, str(tmp_path), make, parts), nprocs=3)
    expected = step_in_double_precision(0, 1, str(tmp_path), make, parts)
    for number in range(3):
        found = torch.load(tmp_path / str(number), weights_only=True)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-10, rtol=1e-8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batch_normalisation_on_a_gpu_has_the_statistics_of_the_whole_batch(tmp_path):
    """Two processes share a GPU."""
    torch.multiprocessing.spawn(step_in_double_precision, (2, str(tmp_path), residual_network, 1, "cuda"), nprocs=2)
    expected = step_in_double_precision(0, 1, str(tmp_path), residual_network, 1, "cuda")
    for number in range(2):
        found = torch.load(tmp_path / str(number), weights_only=True)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("more", [
    pytest.param(["--architecture=lottery/resnet20", "--pruner=snip", "--prune_examples=64"], marks=pytest.mark.slow),
    ["--architecture=lottery/resnet20", "--pruner=random/erk", "--accumulate=2", "--prune_batchnorm", "--validation=9"],
    ["--architecture=imagenet/squeezenet1_1", "--pruner=random", "--image_size=32"],
    ["--experiment=supermask", "--algorithm=gem-miner", "--architecture=gem-miner/fc", "--batch_size=479", "--unflag",
     "--iterations=9", "--evaluate_every=3", "--freeze_every=1", "--sanity_checks=random"],
])  # fmt: skip
def test_two_processes_train_the_network_of_one(tmp_path, more):
    done = torchrun(*WORDS, *more, f"--out_path={tmp_path / 'two'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("top-1") == len(rows_of(tmp_path / "two")) and "warning" not in done.stderr
    assert main.main([*WORDS, *more, f"--out_path={tmp_path / 'one'}"]) == 0
    ours, theirs = (
        rows_of(tmp_path / name).set_index("pruner").loc[more[1].partition("=")[2]] for name in ("two", "one")
    )
    # Nothing tells the results apart but seconds and how their sums were rounded.
    assert ours["run"] == theirs["run"] and ours["kept_direct"] == theirs["kept_direct"]
    folders = [run_folder(tmp_path / name, row) for name, row in (("two", ours), ("one", theirs))]
    first, second = (load_file(folder / "masks.safetensors") for folder in folders)
    assert all(torch.equal(first[name], second[name]) for name in second)
    first, second = (load_file(folder / "weights.safetensors") for folder in folders)
    assert first.keys() == second.keys()
    for name, value in second.items():
        torch.testing.assert_close(first[name], value, atol=1e-3, rtol=1e-2)
    tables = [path.name for path in folders[0].glob("*.csv") if path.name in ("training.csv", "search.csv")]
    for table in tables:
        first, second = (pd.read_csv(folder / table).drop(columns="seconds", errors="ignore") for folder in folders)
        pd.testing.assert_frame_equal(first, second, atol=1e-2, rtol=1e-2)
    assert len(tables) == 1 + ("--experiment=supermask" in more)


def test_a_mistake_is_told_once(tmp_path):
    done = torchrun(
        "--data=digits", "--pruner=random/uniform_plus", "--target_sparsity=0.9999", f"--out_path={tmp_path}"
    )
    assert done.returncode != 0 and done.stderr.count("main.py: ") == 1
    assert not list(tmp_path.rglob("summary.csv"))


def test_parts_sum_to_the_whole_batch(tmp_path):
    words = ["--data=digits", "--iterations=20", "--evaluate_every=10", "--pruner=dense", "--architecture=fc"]
    for parts in (1, 3):
        assert main.main([*words, f"--accumulate={parts}", f"--out_path={tmp_path / str(parts)}"]) == 0
    whole, summed = (pd.read_csv(next((tmp_path / parts).rglob("training.csv"))) for parts in ("1", "3"))
    pd.testing.assert_frame_equal(whole.drop(columns="seconds"), summed.drop(columns="seconds"), atol=1e-3, rtol=1e-3)
    (row,) = (row for _, row in rows_of(tmp_path / "3").iterrows())
    assert "--accumulate=3" in row["settings"]


def test_too_small_parts(tmp_path, capsys):
    assert main.main(["--data=digits", "--batch_size=7", "--accumulate=4", f"--out_path={tmp_path}"]) == 2
    assert "--accumulate=4 leaves less than 2 of --batch_size=7 images in a part" in capsys.readouterr().err
    done = torchrun("--data=digits", "--batch_size=3", f"--out_path={tmp_path}")
    assert done.returncode != 0 and done.stderr.count("leaves less than 2 images for each of 2 processes") == 1


@pytest.mark.slow
def test_several_processes_go_on_where_they_were_killed(tmp_path):
    words = ["--data=digits", "--iterations=300", "--evaluate_every=100", "--experiment=gradual", "--pruner=random",
             "--prune_every=20", "--checkpoint_every=30"]  # fmt: skip
    assert torchrun(*words, f"--out_path={tmp_path / 'calm'}").returncode == 0
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "main.py", *words]
    environment = {**os.environ, **LOCAL, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen([*start, f"--out_path={tmp_path / 'killed'}"], cwd=ROOT, env=environment)
    while process.poll() is None and not list((tmp_path / "killed").rglob("checkpoint-training.pt")):
        time.sleep(0.02)
    children = [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    for one in (process.pid, *children):
        os.kill(one, signal.SIGKILL)
    process.wait()
    assert not list((tmp_path / "killed").rglob("run.json"))
    done = torchrun(*words, f"--out_path={tmp_path / 'killed'}")
    assert done.returncode == 0, done.stderr
    for name in ("training.csv", "sparsity.csv"):
        found, expected = (pd.read_csv(next((tmp_path / place).rglob(name))) for place in ("killed", "calm"))
        pd.testing.assert_frame_equal(
            found.drop(columns="seconds", errors="ignore"), expected.drop(columns="seconds", errors="ignore"),
            check_exact=True,
        )  # fmt: skip


def test_a_follower_that_fails_alone_ends(monkeypatch):
    """The first process would wait for it in the next sum of gradients."""
    sent = iter([(Job("run", Settings(), "test_distributed:fails_alone"),), None])
    monkeypatch.setattr(executor, "agree", lambda function: next(sent))
    with pytest.raises(UserError, match="RuntimeError: no memory"):
        executor.follow()


def fails_alone(settings, inputs, context):
    raise RuntimeError("no memory")
