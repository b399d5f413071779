"""Parameters and buffers of the user's own whose names end in `_mask`: weights like all others, everywhere."""

from pathlib import Path

import pytest
import torch
from conftest import rows_of, run_folder
from safetensors.torch import load_file, save_file

import main
from Layers import mask_model, prunable, state_without_masks
from Models import build
from Utils.results.store import Store
from Utils.user_code import Stopped

NETWORK = '''
import torch
from torch import nn


class Network(nn.Module):
    """`gain` and its trained `gain_mask`, and a buffer that counts its passes."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(784, 20), nn.Linear(20, 10)
        self.gain = nn.Parameter(torch.ones(20))
        self.gain_mask = nn.Parameter(torch.full((20,), 0.5))
        self.register_buffer("passes_mask", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.passes_mask.add_(1)
        x = self.first(x.flatten(1)) * self.gain * self.gain_mask
        return self.last(x.relu())


def network():
    return Network()
'''


@pytest.fixture
def words(tmp_path) -> list[str]:
    (tmp_path / "own.py").write_text(NETWORK)
    return [
        f"--architecture={tmp_path / 'own.py'}:network", "--data=digits", "--iterations=40", "--evaluate_every=20",
        "--lr_drops", "--optimizer=momentum", "--lr=0.1", "--batch_size=32", "--pruner=random",
        "--target_sparsity=0.5", "--threads=1",
    ]  # fmt: skip


def weights_of(results: Path) -> dict[str, torch.Tensor]:
    ((_, row),) = rows_of(results).iterrows()
    return load_file(run_folder(results, row) / "weights.safetensors")


def test_they_are_stored_and_survive_a_kill(tmp_path, words, monkeypatch):
    assert main.main([*words, f"--out_path={tmp_path / 'calm'}"]) == 0
    calm = weights_of(tmp_path / "calm")
    assert calm.keys() == {"first.weight", "first.bias", "last.weight", "last.bias", "gain", "gain_mask", "passes_mask"}
    assert calm["passes_mask"] == 40 and len(calm["gain_mask"].unique()) > 1

    keep = Store.write_checkpoint

    def dies(self, *arguments):
        keep(self, *arguments)
        raise Stopped

    killed = [*words, "--checkpoint_every=25", f"--out_path={tmp_path / 'killed'}"]
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_checkpoint", dies)
        assert main.main(killed) == 130
    assert main.main(killed) == 0
    resumed = weights_of(tmp_path / "killed")
    assert all(torch.equal(resumed[name], value) for name, value in calm.items())


def test_they_are_rewound(tmp_path, words):
    words = [*words, "--experiment=multishot", "--levels=1", "--rewind=init"]
    assert main.main([*words, f"--out_path={tmp_path}"]) == 0
    assert weights_of(tmp_path)["passes_mask"] == 40, "the second training counts from the initial value again"


def test_they_are_loaded(tmp_path, words):
    assert main.main([*words, f"--out_path={tmp_path / 'first'}"]) == 0
    stored = weights_of(tmp_path / "first")
    save_file(stored, tmp_path / "stored.safetensors")
    more = ["--pruner=random", "--train=0", f"--weights_from={tmp_path / 'stored.safetensors'}"]
    assert main.main([*words[:2], *more, f"--out_path={tmp_path / 'second'}"]) == 0
    loaded = weights_of(tmp_path / "second")
    assert torch.equal(loaded["gain_mask"], stored["gain_mask"]) and loaded["passes_mask"] == 40


def test_masks_are_known_by_their_layer():
    namespace: dict = {}
    exec(NETWORK, namespace)
    model = namespace["network"]()
    before = set(model.state_dict())
    mask_model(model, (784,))
    assert set(state_without_masks(model)) == before
    assert model.state_dict().keys() - before == {f"{name}_mask" for name in prunable(model)}
    assert set(state_without_masks(build("lottery/resnet20"))) == {
        name for name in build("lottery/resnet20").state_dict() if not name.endswith("_mask")
    }
