"""Checkpoints and masks that no usual program writes: each is refused in one line; nothing hangs or fills memory."""

from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import main
from Models import build
from Utils.results import state_dicts

QUICK = ["--data=digits", "--train=0", "--pruner=mag"]


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    model = build("lenet300100", generator=torch.Generator().manual_seed(77))
    return {name: value for name, value in model.state_dict().items() if not name.endswith("_mask")}


def odd_checkpoint(kind: str, state: dict[str, torch.Tensor]) -> Any:
    """A checkpoint that PyTorch saves and loads, and that is no usual state dict."""
    name = "fc1.weight"
    weight = state[name]
    contains_itself: dict[str, Any] = {}
    contains_itself["model"] = contains_itself
    one_entry = torch.sparse_coo_tensor(torch.zeros(2, 1), torch.ones(1), (1_000_000, 1_000_000))
    return {
        "number": lambda: {**state, 3: torch.ones(2)},
        "tuple": lambda: {**state, ("a", 1): torch.ones(2)},
        "empty": lambda: {**state, "": torch.ones(2)},
        "long": lambda: {**state, "a." * 100_000: torch.ones(2)},
        "line": lambda: {**state, "a\nb\x1b[31m": torch.ones(2)},
        "itself": lambda: contains_itself,
        "huge sparse": lambda: {**state, name: one_entry},
        "huge unexpected": lambda: {**state, "more": one_entry},
        "expanded": lambda: {**state, name: torch.ones(1).expand(10**7, 10**7)},
        "meta": lambda: {**state, name: weight.to("meta")},
        "nested": lambda: {**state, name: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])},
        "quantized": lambda: {**state, name: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)},
        "complex": lambda: {**state, name: weight.to(torch.complex64)},
        "too large": lambda: {**state, name: weight.double() * 1e300},
        "not finite": lambda: {**state, name: weight.double() * torch.inf},
        "8 bits, not finite": lambda: {**state, name: (weight * torch.nan).to(torch.float8_e4m3fn)},
    }[kind]()


ODD = {
    "number": "is not a state dict: a tensor has the name 3", "tuple": "a tensor has the name ('a', 1)",
    "empty": "has unexpected ''", "long": "a tensor has the name 'a.a.a.", "line": "has unexpected a b?[31m",
    "itself": "holds no named tensors", "huge sparse": "holds tensors of 3.73e+03 GiB, more than half of this machine",
    "huge unexpected": "holds tensors of 3.73e+03 GiB", "expanded": "holds tensors of 3.73e+05 GiB",
    "meta": "fc1.weight is a meta tensor", "nested": "fc1.weight is a nested tensor",
    "quantized": "fc1.weight is a quantized tensor", "complex": "fc1.weight holds torch.complex64, not floating-point",
    "too large": "does not fit the network: fc1.weight has entries beyond the range of torch.float32",
    "not finite": "is damaged: fc1.weight has entries that are not finite",
    "8 bits, not finite": "is damaged: fc1.weight has entries that are not finite",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flag", ["--weights_from", "--masks_from"])
@pytest.mark.parametrize("kind", ODD)
def test_odd_checkpoints_are_refused_in_one_line(tmp_path, weights, capsys, kind, flag):
    torch.save(odd_checkpoint(kind, weights), tmp_path / "odd.pt")
    assert main.main([*QUICK, f"{flag}={tmp_path / 'odd.pt'}", f"--out_path={tmp_path / 'out'}"]) == 2
    error = capsys.readouterr().err
    assert ODD[kind] in error and error.count("\n") == 1 and len(error) < 1000


def test_a_checkpoint_of_8_bits_is_loaded_exactly(tmp_path, weights):
    small = {name: value.to(torch.float8_e4m3fn) for name, value in weights.items()}
    torch.save(small, tmp_path / "small.pt")
    model = build("lenet300100")
    state_dicts.load(model, state_dicts.read(tmp_path / "small.pt"), "small.pt")
    assert all(torch.equal(model.state_dict()[name], small[name].float()) for name in weights)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a": ' * 20_000])
def test_a_header_that_is_nested_too_deeply_is_damage(tmp_path, capsys, content):
    (tmp_path / "deep.safetensors").write_bytes(len(content).to_bytes(8, "little") + content)
    for flag in ("--weights_from", "--masks_from"):
        assert main.main([*QUICK, f"{flag}={tmp_path / 'deep.safetensors'}", f"--out_path={tmp_path / 'out'}"]) == 2
        error = capsys.readouterr().err
        assert "deep.safetensors is damaged, or not" in error and error.count("\n") == 1


@pytest.mark.parametrize("shapes", [
    "[" * 100_000, "[]", "3", "null", "{", '{"fc1.weight": 3}', '{"fc1.weight": "ab"}', '{"fc1.weight": [-1, -3]}',
    '{"fc1.weight": [3.0]}', '{"fc1.weight": [1e400]}', '{"fc1.weight": [0, 1000000000000000000000000]}',
    '{"fc1.weight": null}', '{"fc1.weight": [[3]]}', '{"other": [3]}', '{"number": [3]}', '{"number": [4]}',
    '{"fc1.weight": ["3"]}', '{"fc1.weight": [true, 3]}',
])  # fmt: skip
def test_odd_metadata_of_masks_is_one_line(tmp_path, capsys, shapes):
    tensors = {"fc1.weight": torch.tensor([5], dtype=torch.uint8), "number": torch.ones(1)}
    save_file(tensors, tmp_path / "masks.safetensors", {"shapes": shapes})
    words = [*QUICK, f"--masks_from={tmp_path / 'masks.safetensors'}", f"--out_path={tmp_path / 'out'}"]
    assert main.main(words) == 2
    error = capsys.readouterr().err
    assert "masks.safetensors" in error and error.count("\n") == 1 and len(error) < 1000
