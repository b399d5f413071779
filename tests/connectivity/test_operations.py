"""Operations of the graph: parts, layers that are used twice, normalisation, and operations without a rule."""

import pytest
import torch
from torch import Tensor, nn

from Layers import MaskedConv2d, MaskedLinear, add_masks, prunable
from Models import build
from Utils.connectivity.effective import effective_masks, effective_scores, ranking
from Utils.errors import UserError
from Utils.sparsity.measure import measure


def test_a_layer_used_twice_counts_its_best_use():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared, self.head = MaskedLinear(2, 2), MaskedLinear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.shared(self.shared(x.flatten(1))))

    model = Twice()
    model.shared.weight_mask.copy_(torch.tensor([[False, False], [True, False]]))  # unit 1 from input 0 only
    assert not effective_masks(model, (1, 1, 2))["shared.weight"].any()
    model.shared.weight_mask[0, 1] = True  # 0 -> 1 -> 0 and 1 -> 0 -> 1
    assert effective_masks(model, (1, 1, 2))["shared.weight"].sum() == 2


def test_parts_of_a_product_with_a_constant():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.scale = MaskedLinear(2, 2), nn.Parameter(torch.zeros(2))
            self.register_buffer("switch", torch.tensor([1.0, 0.0]))

        def forward(self, x: Tensor) -> Tensor:
            return 1 - self.fc(x.flatten(1)) * self.scale * self.switch * 2

    assert effective_masks(Scaled(), (1, 1, 2))["fc.weight"].tolist() == [[True, True], [False, False]]


class Parts(nn.Module):
    """Several tensors at once, sliced, joined again, turned."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = MaskedLinear(2, 6), MaskedLinear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.a(x.flatten(1)).chunk(3, 1)[1:]
        return self.b(torch.cat([parts[0], parts[1]], 1).T.relu().mT)


def test_parts_of_what_an_operation_returned():
    effective = effective_masks(Parts(), (1, 1, 2))
    assert effective["a.weight"].tolist() == [[False] * 2] * 2 + [[True] * 2] * 4 and effective["b.weight"].all()


def test_all_parts_joined_again():
    class Whole(Parts):
        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.cat(self.a(x.flatten(1)).chunk(3, 1), dim=1)[:, 2:])

    try:
        effective = effective_masks(Whole(), (1, 1, 2))
    except UserError as error:
        pytest.skip(f"this PyTorch cannot trace it: {error}")
    assert effective["a.weight"].tolist() == [[False] * 2] * 2 + [[True] * 2] * 4


def test_multiply_adds_of_a_layer_used_twice():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = MaskedLinear(3, 3), MaskedLinear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(self.a(x.flatten(1)).relu())
            return self.b(x * torch.sigmoid(x))

    assert measure(Twice(), (1, 1, 3)).totals["macs"] == 9 + 9 + 6


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = MaskedLinear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(self.fc(x.flatten(1)), 1)


class Several(Unknown):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack(self.fc(x.flatten(1)).chunk(2, 1))


class Attribute(Unknown):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1)).real


class Branching(Unknown):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (Unknown(), "cumsum"),
        (nn.Sequential(nn.Flatten(), MaskedLinear(2, 2), nn.Bilinear(2, 2, 2)), "Bilinear"),
        (nn.Sequential(MaskedConv2d(1, 2, 1), nn.LocalResponseNorm(2)), "LocalResponseNorm"),
        (Branching(), "torch.fx"),
        (Several(), "stack"),
        (Attribute(), "real"),
    ],
)
def test_an_unknown_operation_is_named(model, named):
    with pytest.raises(UserError, match=named):
        effective_masks(model, (1, 1, 2))


def test_unknown_effective_type():
    with pytest.raises(UserError, match="exact, graph"):
        effective_masks(build("lenet300100"), (1, 28, 28), effective_type="exakt")


def test_normalisation_over_channels_joins_them():
    """What a dead channel puts out is minus the mean of the others: it carries them."""
    for norm, expected in ((nn.GroupNorm(2, 4), [True, True, False, False]), (nn.LayerNorm((4, 1, 1)), [True] * 4)):
        model = nn.Sequential(MaskedConv2d(1, 4, 1), norm, MaskedConv2d(4, 3, 1))
        prunable(model)["0.weight"][1][1:] = False
        effective = effective_masks(model, (1, 1, 1))
        assert effective["2.weight"].any(0).flatten().tolist() == expected
        assert effective["0.weight"].flatten().tolist() == [True, False, False, False]


def test_looking_at_a_network_does_not_write_to_its_buffers():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = MaskedLinear(2, 2)
            self.register_buffer("passes", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.passes.add_(1)
            return self.fc(x.flatten(1))

    model = Counting()
    assert effective_masks(model, (1, 1, 2))["fc.weight"].all() and model.passes == 0
    model(torch.zeros(1, 1, 1, 2))
    assert measure(model, (1, 1, 2)).totals["kept_effective"] == 4 and model.passes == 1


class OpenGate(nn.Module):
    """A branch times a rectified gate, whose kernel can be pruned; the shift of the gate is its own or a norm's."""

    def __init__(self, has_norm: bool) -> None:
        super().__init__()
        self.branch, self.gate = MaskedConv2d(1, 3, 1), MaskedConv2d(1, 3, 1, bias=not has_norm)
        self.norm = nn.BatchNorm2d(3) if has_norm else nn.Identity()
        self.head = MaskedLinear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.branch(x) * torch.relu(self.norm(self.gate(x)))).mean((2, 3)))


@pytest.mark.parametrize("has_norm", [False, True])
def test_a_gate_is_open_while_its_shift_is_kept(has_norm):
    model = OpenGate(has_norm)
    add_masks(model, "batchnorm" if has_norm else "bias")
    masks = {name: mask for name, (_, mask) in prunable(model).items()}
    shift = masks["norm.bias" if has_norm else "gate.bias"]
    masks["gate.weight"].zero_()
    effective = effective_masks(model, (1, 4, 4))
    assert effective["branch.weight"].all() and effective["head.weight"].all() and not effective["gate.weight"].any()
    assert not measure(model, (1, 4, 4)).totals["collapsed"]
    shift[1] = False
    assert effective_masks(model, (1, 4, 4))["branch.weight"].flatten().tolist() == [True, False, True]
    shift.zero_()
    assert measure(model, (1, 4, 4)).totals["collapsed"]
    # At each threshold of the shift: its rank is that of the gate.
    masks["gate.weight"].fill_(True)
    shift.fill_(True)
    scores = {name: torch.full(mask.shape, 9.0) for name, mask in masks.items()}
    scores["gate.weight"].fill_(0)
    scores["norm.bias" if has_norm else "gate.bias"] = torch.tensor([1.0, 2.0, 3.0])
    ranks, ranked = effective_scores(model, scores, (1, 4, 4)), ranking(model, scores)
    assert ranks["branch.weight"].flatten().tolist() == ranked["norm.bias" if has_norm else "gate.bias"].tolist()


@pytest.mark.parametrize(("norm", "is_open"), [
    (nn.LayerNorm(3), True), (nn.LayerNorm(3, bias=False), False), (nn.LayerNorm(3, elementwise_affine=False), False),
    (nn.BatchNorm1d(3), True), (nn.BatchNorm1d(3, affine=False), False), (nn.GroupNorm(1, 3), True),
])  # fmt: skip
def test_normalisation_opens_a_gate_by_its_shift(norm, is_open):
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch, self.gate, self.norm = MaskedLinear(2, 3), MaskedLinear(2, 3, bias=False), norm

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1)
            return self.branch(x) * self.norm(self.gate(x)).relu()

    model = Gated()
    model.gate.weight_mask.zero_()
    assert effective_masks(model, (1, 1, 2))["branch.weight"].all() == is_open
