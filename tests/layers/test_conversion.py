"""Any network gets masks and loses them again; whatever would pass a mask by is refused by name."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from Layers import MaskedConv2d, MaskedIdentity, MaskedLinear, Masks, mask_model, prunable, unmask
from Layers.conversion import guess_input_shape


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, groups=1, padding=1, padding_mode="reflect")
        self.norm = nn.BatchNorm2d(4)
        self.layers = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.norm(self.conv(x)))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def is_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_every_linear_and_convolution_becomes_its_masked_twin_and_shares_its_weights():
    model = Plain().eval()
    image, parameters, before = torch.rand(2, 3, 8, 8), list(model.parameters()), state(model)
    expected = model(image)
    layer = model.conv
    assert mask_model(model) is model
    assert isinstance(model.conv, MaskedConv2d) and isinstance(model.layers[3], MaskedLinear) and model.conv is layer
    assert all(now is old for now, old in zip(model.parameters(), parameters, strict=True))
    assert list(prunable(model)) == ["conv.weight", "layers.3.weight"] and not model.training
    assert torch.equal(model(image), expected)
    added = state(model).keys() - before.keys()
    assert added == {"conv.weight_mask", "layers.3.weight_mask"} and all(
        bool(state(model)[name].all()) for name in added
    )
    assert mask_model(model) is model and len(prunable(model)) == 2, "what is masked already stays"


def test_a_single_layer_is_a_network():
    assert isinstance(mask_model(nn.Linear(3, 2)), MaskedLinear)
    assert list(prunable(mask_model(nn.Conv2d(1, 2, 3)))) == ["weight"]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), density=st.floats(0, 1))
def test_unmasking_gives_plain_layers_that_compute_the_same(seed, density):
    torch.manual_seed(seed)
    model = Plain().eval()
    names, types = list(model.state_dict()), [type(module) for module in model.modules()]
    mask_model(model)
    Masks({name: torch.rand(mask.shape) < density for name, (_, mask) in prunable(model).items()}).install(model)
    masks, weights, image = Masks.of(model), state(model), torch.rand(2, 3, 8, 8)
    expected = model(image)
    assert unmask(model) is model
    assert [type(module) for module in model.modules()] == types and list(model.state_dict()) == names
    assert torch.equal(model(image), expected) and not prunable(model)
    for name, mask in masks.items():
        assert torch.equal(model.state_dict()[name], weights[name] * mask)
    fresh = Plain()
    fresh.load_state_dict(model.state_dict())
    torch.save(fresh, "/dev/null")


def test_masks_act_and_gradients_of_pruned_weights_are_zero():
    model = mask_model(Plain())
    weight, mask = prunable(model)["conv.weight"]
    mask[0] = False
    model(torch.rand(4, 3, 8, 8)).sum().backward()
    assert not weight.grad[0].any() and weight.grad[1:].any()


def test_subclasses_hooks_and_frozen_weights_stay():
    class Named(nn.Linear):
        """A subclass without a forward of its own."""

    layer = Named(3, 2)
    layer.weight.requires_grad_(False)
    calls: list = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    mask_model(layer)(torch.rand(1, 3))
    assert isinstance(layer, MaskedLinear) and calls and not layer.weight.requires_grad
    assert type(unmask(layer)) is Named


def test_a_forward_that_was_written_again_is_the_same():
    class Repeated(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            """As in PyTorch."""
            return F.linear(input, self.weight, self.bias)

    layer = Repeated(3, 2)
    mask_model(layer).weight_mask[0] = False
    assert type(layer) is MaskedLinear and torch.equal(layer(torch.rand(1, 3))[0, 0], layer.bias[0])
    assert type(unmask(layer)) is Repeated and not layer.weight[0].any()


def test_lists_outside_of_the_module_tree_see_the_same_layers():
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)
            self.order = [self.first, self.second]  # no ModuleList

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.order:
                x = layer(x)
            return x

    model = mask_model(Listed())
    prunable(model)["first.weight"][1].zero_()
    prunable(model)["second.weight"][1].zero_()
    assert torch.equal(model(torch.rand(3, 4)), model.second.bias.expand(3, 2))


def test_pruned_skips_become_fixed_convolutions():
    skip = MaskedIdentity(3)
    skip.add_mask("weight")
    skip.weight_mask[1] = False
    model, image = nn.Sequential(skip, MaskedIdentity(3)), torch.rand(2, 3, 4, 4)
    expected = model(image)
    unmask(model)
    assert type(model[0]) is nn.Conv2d and type(model[1]) is nn.Identity and torch.equal(model(image), expected)
    assert not model[0].weight.requires_grad


class Reader(nn.Module):
    """Code that takes a layer's weight past the layer."""

    def __init__(self, read) -> None:
        super().__init__()
        self.first, self.head, self.read = nn.Linear(4, 4), nn.Linear(4, 2), read

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(self, x))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None]
        return self.head(self.attention(x, x, x)[0][:, 0])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(4, 4), nn.Linear(4, 4)
        self.decode.weight = self.encode.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class Standardised(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight - self.weight.mean(), self.bias)


class Sharpened(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, weight.square(), bias)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head, self.auxiliary = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x) + (self.auxiliary(x) if self.training else 0)


def with_view() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    view = model[0].weight.data[:2]
    model.register_forward_hook(lambda module, inputs, output: output + view.sum())
    return model


def named(layer: nn.Module) -> nn.Module:
    model = nn.Sequential()
    model.add_module("wide", layer)
    return model


REFUSED = [
    (Attention, "attention.out_proj.weight is read past its layer"),
    (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), "out_proj.weight is read past its layer"),
    (Tied, "encode.weight is shared (tied) with decode.weight"),
    (lambda: named(parametrizations.orthogonal(nn.Linear(4, 4))), "the weight of wide (ParametrizedLinear) is"),
    (lambda: named(parametrizations.weight_norm(nn.Linear(4, 4))), "the weight of wide (ParametrizedLinear) is"),
    (lambda: named(nn.utils.spectral_norm(nn.Conv2d(1, 2, 3))), "the weight of wide (Conv2d) is computed from others"),
    (lambda: named(prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5)), "torch.nn.utils.prune"),
    (lambda: named(Standardised(1, 2, 3)), "wide (Standardised) has a forward of its own"),
    (lambda: named(Sharpened(1, 2, 3)), "wide (Sharpened) has a _conv_forward of its own"),
    (lambda: named(nn.LazyLinear(3)), "wide (LazyLinear) has no weights yet"),
    (lambda: Reader(lambda m, x: F.linear(x, m.first.weight) + m.first(x)), "first.weight is read past its layer"),
    (lambda: Reader(lambda m, x: x @ m.first.weight.t()), "first.weight is read past its layer, by t"),
    (lambda: Reader(lambda m, x: m.first(x) + m.first.weight.sum()), "first.weight is read past its layer, by sum"),
    (with_view, "0.weight is read past its layer, by sum"),
    (Unused, "auxiliary: never used on an input of zeros in evaluation mode"),
    (lambda: named(torch.jit.script(nn.Linear(4, 4))), "is compiled by torch.jit"),
    (lambda: nn.Sequential(nn.ReLU()), "has no Linear and no Conv2d"),
    (lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(5, 2)), "no input of [(4,), (4, 1, 1)] runs through Sequential"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_passes_a_mask_by_is_refused_by_name_and_left_as_it_was(make, message):
    model = make()
    types, training = [type(module) for module in model.modules()], [module.training for module in model.modules()]
    with pytest.raises(ValueError) as error:
        mask_model(model)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert [type(module) for module in model.modules()] == types
    assert [module.training for module in model.modules()] == training
    assert not any("mask" in name and "weight_mask" not in name for name, _ in model.named_buffers())
    assert not any(hasattr(module, "_float_masks") for module in model.modules())


def test_asking_for_a_shape_or_a_device_reads_no_weight():
    model = Reader(lambda m, x: m.first(x.to(m.first.weight.dtype).to(m.first.weight.device)) * m.first.weight.shape[0])
    assert len(prunable(mask_model(model))) == 2


def test_the_probe_leaves_no_trace():
    class Counting(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x + torch.rand(1))

    model = Counting()
    before, random = state(model), torch.random.get_rng_state()
    mask_model(model, (3, 9, 7))
    after = {name: value for name, value in state(model).items() if not name.endswith("_mask")}
    assert is_same(before, after) and torch.equal(random, torch.random.get_rng_state()) and model.training


def test_a_wrong_input_shape_is_named():
    with pytest.raises(ValueError, match="Plain does not run on an input of 1x8x8"):
        mask_model(Plain(), (1, 8, 8))


def test_shapes_are_guessed():
    assert guess_input_shape(Plain()) == (3, 32, 32)
    assert guess_input_shape(nn.Sequential(nn.Flatten(), nn.Linear(12, 2))) == (12,)
    at_64 = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(64 * 64, 2))
    assert guess_input_shape(at_64) == (1, 64, 64)


def test_masked_networks_copy_and_keep_their_masks():
    model = mask_model(Plain())
    twin = copy.deepcopy(model)
    prunable(twin)["conv.weight"][1].zero_()
    assert bool(prunable(model)["conv.weight"][1].all()) and not bool(prunable(twin)["conv.weight"][1].any())
