"""Architectures have the published sizes, start from the published distribution, and build the same every time."""

import pytest
import settings
import torch
import torchvision
from conftest import make_batches
from networks import clamped_path_counts, random_masks
from torch import nn

from Layers import MaskedBatchNorm1d, MaskedConv2d, MaskedIdentity, MaskedLinear, prunable
from Models import build
from Models.registry import ARCHITECTURES
from Utils.connectivity import effective_masks
from Utils.data.registry import DATASETS


def sizes(name: str, classes: int = 10, shape: tuple[int, int, int] | None = None) -> list[int]:
    with torch.device("meta" if name in ARCHITECTURES else "cpu"):  # shapes alone, where no probe has to run
        return [weight.numel() for weight, _ in prunable(build(name, shape, classes)).values()]


@pytest.mark.parametrize("name", settings.PRUNABLE)
def test_number_of_prunable_weights_of_each_layer(name):
    total, layers = settings.PRUNABLE[name]
    assert sizes(name) == layers and sum(sizes(name)) == total


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_registry_knows_the_number_of_prunable_weights(name):
    entry = ARCHITECTURES[name]
    facts = DATASETS[entry.data or ""].facts
    assert facts is not None and sum(sizes(name, facts.classes)) == entry.prunable


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_registry_knows_which_have_batch_normalisation(name):
    with torch.device("meta"):
        modules = list(build(name).modules())
    is_normalised = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules)
    assert ARCHITECTURES[name].has_batchnorm == is_normalised


@pytest.mark.parametrize(("name", "classes", "total", "tensors"), [
    ("vgg16", 10, 14_715_584, 14), ("vgg19", 100, 20_070_080, 17), ("resnet18", 200, 11_261_632, 21),
    ("lottery/vgg11", 10, 9_222_848, 9), ("lottery/vgg11", 100, 9_268_928, 9), ("lottery/vgg13-bn", 100, 9_453_248, 11),
    ("lottery/vgg16-bn", 100, 14_761_664, 14), ("lottery/vgg19", 100, 20_070_080, 17),
    ("lottery/resnet20", 10, 270_896, 22), ("lottery/resnet32", 10, 464_432, 34),
    ("lottery/resnet110", 10, 1_722_416, 112), ("lottery/resnet1202", 10, 19_334_192, 1204),
    ("lottery/wide-resnet20", 10, 1_081_440, 22), ("lottery/wide-resnet32", 10, 1_855_584, 34),
    ("tinyimagenet/vgg11", 200, 12_568_256, 11), ("tinyimagenet/vgg16-bn", 200, 18_060_992, 16),
    ("tinyimagenet/vgg19", 200, 23_369_408, 19), ("tinyimagenet/resnet18", 10, 11_164_352, 21),
    ("tinyimagenet/resnet18", 100, 11_210_432, 21), ("tinyimagenet/resnet18", 200, 11_261_632, 21),
    ("tinyimagenet/resnet34", 200, 21_362_368, 37), ("tinyimagenet/resnet50", 200, 23_856_832, 54),
    ("tinyimagenet/wide-resnet50", 200, 67_167_936, 54), ("union/vgg19_bn", 10, 20_543_168, 18),
    ("union/resnet32", 10, 1_844_064, 31), ("fc", 10, 119_400, 6), ("conv", 10, 260_384, 3), ("mlp", 10, 2_386_000, 5),
    ("gem-miner/fc", 10, 119_400, 6), ("gem-miner/resnet20", 10, 268_336, 20), ("gem-miner/resnet20", 100, 274_096, 20),
])  # fmt: skip
def test_published_sizes(name, classes, total, tensors):
    found = sizes(name, classes)
    assert (sum(found), len(found)) == (total, tensors)


@pytest.mark.parametrize("depth", [50, 101, 152])
@pytest.mark.parametrize("prefix", ["", "wide_"])
def test_deep_residual_networks_are_those_of_torchvision_but_for_the_stem(prefix, depth):
    if prefix and depth == 152:
        return  # torchvision has none
    plain = torchvision.models.get_model(
        f"{prefix}resnet{depth}{'_2' if prefix else ''}", weights=None, num_classes=200
    )
    kernels = sum(p.numel() for p in plain.parameters() if p.dim() > 1) - 64 * 3 * 7 * 7 + 64 * 3 * 3 * 3
    name = f"tinyimagenet/{prefix.replace('_', '-')}resnet{depth}"
    assert ARCHITECTURES[name].prunable == kernels


def test_wide_basic_blocks_are_wider_inside():
    """The original's wide ResNet-18 was no wider at all."""
    narrow, wide = build("tinyimagenet/resnet18"), build("tinyimagenet/wide-resnet18")
    for (name, (before, _)), (after, _) in zip(prunable(narrow).items(), prunable(wide).values(), strict=True):
        is_inside = ".conv" in name
        assert after.numel() == before.numel() * (2 if is_inside else 1), name


def test_what_the_union_mask_program_leaves_unmasked():
    model = build("union/resnet20")
    plain = [name for name, module in model.named_modules() if type(module) in (nn.Conv2d, nn.Linear)]
    assert plain == ["blocks.3.skip", "blocks.6.skip", "fc"]
    assert type(build("union/vgg11_bn").fc3) is nn.Linear and build("union/vgg11").conv1.bias is None


def test_torchvision_vgg19_has_its_published_size():
    found = sizes("imagenet/vgg19", 1000, (3, 32, 32))
    assert (sum(found), len(found)) == (143_652_544, 19)


def test_layers_of_the_residual_networks():
    model = build("resnet18", classes=200)
    names = list(prunable(model))
    shortcuts = [index for index, name in enumerate(names) if "skip" in name]
    assert shortcuts == [7, 12, 17] and not any(
        name.endswith("bias") and "norm" not in name for name in model.state_dict()
    )
    norms = [name for name, module in model.named_modules() if name.endswith("skip_norm") and not is_identity(module)]
    assert len(norms) == 8, "effective-sparsity's normalises every skip"
    lottery = build("lottery/resnet20")
    skips = [module for name, module in lottery.named_modules() if name.endswith(".skip")]
    assert [isinstance(skip, MaskedIdentity) for skip in skips] == [True] * 3 + ([False] + [True] * 2) * 2
    norms = [name for name, module in lottery.named_modules() if name.endswith("skip_norm") and not is_identity(module)]
    assert len(norms) == 2 and lottery.fc.bias is not None


def is_identity(module: nn.Module) -> bool:
    return isinstance(module, nn.Identity)


@pytest.mark.parametrize("name", ["lottery/vgg11", "lottery/resnet20"])
def test_lottery_networks_start_as_kaiming_normal(name):
    for layer in build(name, generator=torch.Generator().manual_seed(0)).modules():
        if isinstance(layer, MaskedLinear | MaskedConv2d):
            std = (2 / layer.weight[0].numel()) ** 0.5
            assert layer.weight.std().item() == pytest.approx(std, rel=4 / (2 * layer.weight.numel()) ** 0.5)


@pytest.mark.parametrize("name", [
    "vgg16", "resnet18", "lottery/vgg11-bn", "lottery/resnet20", "lottery/wide-resnet20", "tinyimagenet/vgg11-bn",
    "tinyimagenet/resnet18", "tinyimagenet/wide-resnet18", "tinyimagenet/resnet50", "union/vgg11_bn", "union/resnet20",
    "conv", "fc", "mlp", "gem-miner/fc", "gem-miner/resnet20",
])  # fmt: skip
def test_convolutional_networks_can_be_followed_and_pruned(name):
    shape = (3, 32, 32)
    model = build(name, shape)
    masks = random_masks(model, 0.02, seed=0)
    counted, found = clamped_path_counts(model, masks, shape), effective_masks(model, shape, masks)
    assert all(torch.equal(counted[key], found[key]) for key in masks)
    assert 0 < sum(int(mask.sum()) for mask in found.values()) < masks.kept
    assert model.train()(torch.rand(4, *shape)).shape == (4, 10)


@pytest.mark.parametrize("name", ["lenet300100", "lenet5", "resnet18"])
def test_initial_weights_are_a_truncated_normal_of_variance_two_over_fan_average(name):
    for layer in build(name, generator=torch.Generator().manual_seed(0)).modules():
        if isinstance(layer, MaskedLinear | MaskedConv2d):
            area = layer.weight[0, 0].numel()
            fan_average = area * (layer.weight.shape[0] + layer.weight.shape[1]) / 2
            std = (2 / fan_average) ** 0.5
            assert layer.weight.std().item() == pytest.approx(std, rel=4 / (2 * layer.weight.numel()) ** 0.5)
            assert layer.weight.abs().max() <= 2 * std / 0.87962566
            assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("name", [*settings.NETWORKS, "lottery/vgg11-bn", "lottery/resnet20", "gem-miner/resnet20"])
def test_same_generator_same_weights_and_nothing_else_moves(name):
    before = torch.random.get_rng_state()
    one, two, other = (build(name, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert not torch.equal(next(iter(one.parameters())), next(iter(other.parameters())))


@pytest.mark.parametrize("name", settings.NETWORKS)
@pytest.mark.parametrize("shape", [None, (1, 28, 28), (3, 32, 32), (2, 20, 36)])
def test_forward_of_any_input_size(name, shape):
    model = build(name, shape, classes=7)
    (x, _), *_ = make_batches(shape or ARCHITECTURES[name].input_shape)
    assert model(x).shape == (16, 7)


def test_layers_of_lenet300100():
    kinds = [type(layer) for layer in build("lenet300100")]
    dense = [MaskedLinear, MaskedBatchNorm1d, nn.ReLU]
    assert kinds == [nn.Flatten, *dense, *dense, MaskedLinear, MaskedBatchNorm1d]
    norm = build("lenet300100")[2]
    assert norm.eps == 1e-3 and norm.momentum == pytest.approx(0.01)


def test_batchnorm_of_the_batch_at_test_time():
    x = torch.randn(8, 1, 28, 28) * 5
    for mode, depends_on_batch in (("running", False), ("batch", True)):
        model = build("lenet300100", batchnorm=mode).eval()
        assert torch.allclose(model(x)[:4], model(x[:4]), atol=1e-4) != depends_on_batch


def test_impossible_models():
    with pytest.raises(ValueError, match="unknown architecture 'lenet'; there are: lenet300100, lenet5"):
        build("lenet")
    with pytest.raises(ValueError, match="at least 16 x 16, not 12 x 32"):
        build("lenet5", (3, 12, 32))
    with pytest.raises(ValueError, match="vgg16 needs an input of at least 32 x 32, not 28 x 28"):
        build("vgg16", (1, 28, 28))
