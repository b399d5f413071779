"""Networks of torchvision and of the user's own, by command line, against a path count."""

from pathlib import Path
from urllib.error import URLError

import pandas as pd
import pytest
import torch
import torchvision
from conftest import OWN_NETWORK, rows_of, run_folder
from networks import clamped_path_counts, random_masks, without_biases
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

import main
from Layers import Masks, prunable
from Models import build, user_network
from Models.registry import architecture, architecture_names, native_shape
from Models.torchvision_names import torchvision_names
from Pruners.criteria.linearised import linearise
from Pruners.criteria.synflow import flow_scores
from Pruners.registry import style
from Utils.connectivity import effective_masks
from Utils.figures.series import make_series

OWN = f"{OWN_NETWORK}:residual"
ANY = OWN.replace(":residual", ":for_any_image")


@pytest.mark.parametrize(("name", "total"), [
    ("imagenet/mobilenet_v3_small", None), pytest.param("imagenet/densenet121", None, marks=pytest.mark.slow),
    pytest.param("imagenet/resnet18", None, marks=pytest.mark.slow), (OWN, 38_128),
])  # fmt: skip
def test_sparsity_agrees_with_a_path_count(tmp_path, name, total):
    words = [f"--architecture={name}", "--train=0", "--pruning_type=effective", "--target_sparsity=0.9",
             "--data=digits", "--image_size=64", f"--out_path={tmp_path}"]  # fmt: skip
    assert main.main([*words, "--pruner=random/uniform"]) == 0
    assert main.main([*words, "--pruner=snip", "--prune_examples=32", "--batch_size=16"]) == 0
    shape = (3, 64, 64)
    model = build(name, shape, 10)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(torch.zeros(1, *shape))
    for _, row in rows_of(tmp_path).iterrows():
        masks = Masks.load(run_folder(tmp_path, row) / "masks.safetensors")
        counted = clamped_path_counts(model, masks, shape)
        found = effective_masks(model, shape, masks)
        assert all(torch.equal(counted[key], found[key]) for key in masks)
        kept = sum(int(mask.sum()) for mask in counted.values())
        size = masks.total
        assert total is None or size == total
        assert (row["prunable"], row["kept_direct"], row["kept_effective"]) == (size, masks.kept, kept)
        assert row["direct_sparsity"] == 1 - masks.kept / size and row["effective_sparsity"] == 1 - kept / size
        assert kept >= row["target_kept"] == size - int(size * 0.9)
        layers = pd.read_csv(run_folder(tmp_path, row) / "layers.csv").set_index("layer")
        assert layers["kept_effective"].to_dict() == {key: int(mask.sum()) for key, mask in counted.items()}
        assert 2 * row["macs"] == counter.get_total_flops()
        assert row["macs"] > row["direct_macs"] >= row["effective_macs"] > 0


def test_names_are_those_that_torchvision_lists():
    assert list(torchvision_names()) == sorted(torchvision.models.list_models(module=torchvision.models))
    assert {"imagenet/resnet18", "lenet5"} <= set(architecture_names())
    with pytest.raises(ValueError, match="unknown architecture 'imagenet/resnet19'"):
        architecture("imagenet/resnet19")


@pytest.mark.parametrize("name", ["imagenet/squeezenet1_1", "imagenet/googlenet"])
def test_structure_and_weights_are_those_of_torchvision(name):
    options = {"aux_logits": False, "init_weights": True} if name.endswith("googlenet") else {}
    plain = torchvision.models.get_model(name.partition("/")[2], num_classes=7, weights=None, **options).eval()
    model = build(name, (3, 64, 64), 7).eval()
    kernels = {key for key, value in plain.state_dict().items() if key.endswith("weight") and value.dim() > 1}
    assert set(prunable(model)) == kernels
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if not key.endswith("_mask")})
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(plain(image), model(image))


def test_attention_is_refused_by_name():
    with pytest.raises(ValueError, match=r"self_attention\.out_proj\.weight is read past its layer"):
        build("imagenet/vit_b_16", (3, 224, 224), 10)
    with pytest.raises(ValueError, match=r"features\.1\.0\.attn\.qkv\.weight is read past its layer"):
        build("imagenet/swin_t", (3, 64, 64), 10)


def test_native_shapes():
    assert native_shape("lenet5") == ((3, 32, 32), None)
    assert native_shape("imagenet/resnet18") == ((3, 224, 224), 3)
    assert native_shape(OWN) == ((3, 32, 32), 3)
    assert native_shape(ANY) == ((1, 28, 28), None)


def test_the_same_generator_gives_the_same_network():
    states = [build(OWN, generator=torch.Generator().manual_seed(seed)).state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["stem.weight"], states[2]["stem.weight"])


def test_batch_statistics_everywhere(tmp_path):
    model = build(OWN, batchnorm="batch").eval()
    assert "blocks.0.first_norm.running_mean" not in model.state_dict()
    model(torch.rand(4, 3, 32, 32))


@pytest.mark.parametrize(("layer", "message"), [
    ("Conv1d(28, 10, 28)", "Rows has no Linear and no Conv2d layer, so there is nothing to prune"),
    ("Sequential(Conv1d(28, 5, 28), Transpose(), Linear(5, 10), Transpose())", "no rule says how the operation Conv1d"),
])  # fmt: skip
def test_an_own_network_whose_first_layer_does_not_tell_its_input(tmp_path, capsys, layer, message):
    (tmp_path / "nets.py").write_text(
        "from torch.nn import *\n"
        "class Transpose(Module):\n    def forward(self, x):\n        return x.transpose(1, 2)\n"
        "class Rows(Module):\n    def __init__(self, classes=10):\n        super().__init__()\n"
        f"        self.layer = {layer}\n"
        "    def forward(self, x):\n        return self.layer(x[:, 0])[:, :, 0]\n"
    )
    assert main.main([f"--architecture={tmp_path}/nets.py:Rows", "--data=digits", f"--out_path={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_an_own_network_trains_and_another_source_is_another_run(tmp_path, capsys):
    source = tmp_path / "nets.py"
    source.write_text(Path(OWN.rpartition(":")[0]).read_text())
    words = [f"--architecture={source}:for_any_image", "--data=digits", "--iterations=60", "--evaluate_every=30",
             "--pruner=random/erk", f"--out_path={tmp_path / 'results'}"]  # fmt: skip
    assert main.main(words) == 0
    detour = words[0].replace("nets.py", "../" + tmp_path.name + "/./nets.py")
    assert main.main([detour, *words[1:]]) == 0
    assert "complete already" in capsys.readouterr().out
    (row,) = (row for _, row in rows_of(tmp_path / "results").iterrows())
    assert run_folder(tmp_path / "results", row).parts[-5] == "nets-for_any_image"
    assert row["prunable"] == 784 * 20 + 20 * 10 and row["top1"] > 3 * row["chance"]
    source.write_text(source.read_text().replace("20)", "21)").replace("(20", "(21"))
    user_network._module.cache_clear()
    assert main.main(words) == 0
    assert len(rows_of(tmp_path / "results")) == 2


@pytest.mark.parametrize("name", ["efficientnet_b0", "shufflenet_v2_x0_5", "regnet_y_400mf", "googlenet", "mnasnet0_5",
                                  "convnext_tiny"])  # fmt: skip
@pytest.mark.parametrize("density", [pytest.param(0.3, marks=pytest.mark.slow), 0.05])
def test_connectivity_of_further_families_agrees_with_a_path_count(name, density):
    model, shape = build(f"imagenet/{name}", (3, 64, 64), 10), (3, 64, 64)
    masks = random_masks(model, density, seed=1)
    counted, found = clamped_path_counts(model, masks, shape), effective_masks(model, shape, masks)
    assert all(torch.equal(counted[key], found[key]) for key in masks)


@pytest.mark.parametrize("name", ["Optional", "Frozen", "halved"])
def test_unusual_networks_are_pruned(tmp_path, name):
    words = [f"--architecture={OWN.replace(':residual', ':' + name)}", "--pruner=snip,synflow,random/igq",
             "--data=digits", "--pruning_type=effective", "--iterations=3", f"--out_path={tmp_path}"]  # fmt: skip
    assert main.main(words) == 0
    rows = rows_of(tmp_path)
    assert len(rows) == 3 and (rows["kept_effective"] >= rows["target_kept"]).all() and not rows["error"].any()


def test_networks_of_another_source_are_no_samples_of_one(tmp_path):
    source = tmp_path / "nets.py"
    for width in (5, 20):
        source.write_text(
            "from torch import nn\n\n\ndef make():\n"
            f"    return nn.Sequential(nn.Flatten(), nn.Linear(784, {width}), nn.ReLU(), nn.Linear({width}, 10))\n"
        )
        user_network._module.cache_clear()
        words = [f"--architecture={source}:make", "--data=digits", "--train=0", "--pruner=random"]
        assert main.main([*words, f"--out_path={tmp_path / 'out'}"]) == 0
    rows = rows_of(tmp_path / "out")
    assert rows["settings"].str.contains("--architecture_key=").all() and rows["settings"].nunique() == 2
    assert len(make_series(rows, style)) == 2


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf"])
def test_synflow_flows_through_gates(name):
    model = without_biases(build(f"imagenet/{name}", (3, 32, 32), 10, generator=torch.Generator().manual_seed(0)))
    linearise(model)
    scores = flow_scores(model, (3, 32, 32))
    sums = {key: score.sum().item() for key, score in scores.items()}
    stem, head = next(iter(sums.values())), list(sums.values())[-1]
    assert all(torch.isfinite(score).all() for score in scores.values())
    assert stem == pytest.approx(head, rel=1e-9) and head > 0, "flow is conserved"
    gates = [value for key, value in sums.items() if "fc2" in key]
    assert gates and all(0 < value <= head * (0.5 + 1e-9) for value in gates), "at most half of it goes through a gate"


def test_pretrained_weights_but_for_a_classifier_of_other_classes(tmp_path, monkeypatch, capsys):
    """torchvision's own download, with a file laid out as it would be, is tested; only the checksum is not checked."""
    plain = torchvision.models.squeezenet1_1(weights=None)
    weights = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(plain.state_dict(), folder / weights.url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    words = ["--architecture=imagenet/squeezenet1_1", "--image_size=64", "--data=digits", "--iterations=0"]
    out = f"--out_path={tmp_path / 'out'}"
    assert main.main([*words, "--pretrained", "--pruner=mag", "--target_sparsity=0.5", out]) == 0
    assert "ImageNet weights, except for classifier.1.weight, classifier.1.bias" in capsys.readouterr().err
    (row,) = (row for _, row in rows_of(tmp_path / "out").iterrows())
    kept = load_file(run_folder(tmp_path / "out", row) / "weights.safetensors")
    masks = Masks.load(run_folder(tmp_path / "out", row) / "masks.safetensors")
    for name, value in plain.state_dict().items():
        if not name.startswith("classifier"):
            assert torch.equal(kept[name], value * masks[name] if name in masks else value)
    assert kept["classifier.1.weight"].shape[0] == 10


def test_pretrained_weights_without_network(tmp_path, monkeypatch, capsys):
    def fails(*arguments, **options):
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", fails)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    words = ["--architecture=imagenet/squeezenet1_1", "--image_size=32", "--data=digits", "--pretrained", "--train=0"]
    assert main.main([*words, f"--out_path={tmp_path / 'out'}"]) == 2
    message = "cannot be downloaded (<urlopen error no network>); give a weight file with --weights_from"
    assert message in capsys.readouterr().err and not list((tmp_path / "out").rglob("*.csv"))


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "densenet121", "efficientnet_b0", "regnet_y_400mf",
                                  pytest.param("convnext_tiny", marks=pytest.mark.slow)])  # fmt: skip
def test_torchvision_networks_are_pruned_to_99_percent_effective_untouched(tmp_path, name):
    words = [f"--architecture=imagenet/{name}", "--image_size=64", "--data=digits", "--train=0", "--pruner=random/erk"]
    more = ["--pruning_type=effective", "--target_sparsity=0.99", f"--out_path={tmp_path}"]
    assert main.main([*words, *more]) == 0
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    assert row["kept_effective"] >= row["target_kept"] and row["effective_sparsity"] == pytest.approx(0.99, abs=0.001)
