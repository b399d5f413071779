"""Networks whose scores train, and copies of them that know nothing of scores."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import torch
import torch.nn.functional as F
from networks import make, random_masks
from torch import Tensor, nn

from Layers import Masks, add_masks, prunable
from Layers.forms.rounding import GlobalTop, LayerTop, Rounding, Threshold
from Layers.forms.score_penalties import ScorePenalty
from Layers.forms.supermask import Supermask
from Models import build

ROUNDINGS = ("threshold", "clamped", "soft", "soft-clamped", "layer-top", "global-top")


def network(name: str, seed: int = 0, density: float = 0.8) -> tuple[nn.Module, Tensor, Tensor]:
    """A network of which all is masked that can be, some of it pruned, with inputs and labels."""
    torch.manual_seed(seed)
    model, shape = (build(name), (3, 8, 8)) if "/" in name else make(name)
    for kind in ("bias", "batchnorm", "residual"):
        with suppress(ValueError):
            add_masks(model, kind)
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if value.dim() == 1 and value.is_floating_point() and "running" not in name:
            nn.init.uniform_(value, -1, 1)
    random_masks(model, density, seed).install(model)
    inputs = torch.randn(6, *shape)
    return model, inputs, torch.randint(0, model.eval()(inputs).shape[1], (6,))


def rounding(name: str, model: nn.Module) -> Rounding:
    """A rounding rule; those of the largest scores keep half of all entries."""
    sizes = [mask.numel() for _, mask in prunable(model).values()]
    if name == "layer-top":
        return LayerTop([size // 2 for size in sizes])
    if name == "global-top":
        return GlobalTop(sum(sizes) // 2)
    return Threshold(clamps_forward="clamped" in name, is_soft="soft" in name)


def supermask(model: nn.Module, name: str, seed: int = 0, penalty: ScorePenalty | None = None) -> Supermask:
    """A form with scores in [0, 1], with some beyond where they may be."""
    generator = torch.Generator().manual_seed(seed)
    low, high = {"threshold": (0, 1), "soft": (0, 1)}.get(name, (-0.4, 1.4) if "clamped" in name else (-1, 1))
    scores = {
        entry: low + (high - low) * torch.rand(weight.shape, generator=generator).to(weight.dtype)
        for entry, (weight, _) in prunable(model).items()
    }
    return Supermask(scores, rounding(name, model), penalty)


def plain(model: nn.Module) -> nn.Module:
    """A copy without scores, with zeros in place of pruned entries, whose masks keep all."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for weight, mask in prunable(model).values():
            weight.mul_(mask)
            mask.fill_(True)
    return model


def unmasked(model: nn.Module) -> nn.Module:
    """A copy whose masks keep all."""
    model = copy.deepcopy(model)
    for _, mask in prunable(model).values():
        mask.fill_(True)
    return model


def step(form: Supermask, batch: Sequence[Tensor], lr: float = 0.5) -> None:
    """A step on a batch, in training mode, that moves scores by `lr` on average, whatever the network."""
    form.model.train()
    F.cross_entropy(form.model(batch[0]), batch[1]).backward()
    form.after_backward()
    gradients = grads(form)
    mean = torch.cat([gradient.abs().flatten() for gradient in gradients.values()]).mean() + 1e-12
    with torch.no_grad():
        for name, entry in form.entries.items():
            entry.score.sub_(lr * gradients[name] / mean)
            entry.score.grad = None
    form.after_step()


def grads(form: Supermask) -> dict[str, Tensor]:
    """The gradients of the scores, by name; zero where there is none."""
    scores = {name: entry.score for name, entry in form.entries.items()}
    return {name: torch.zeros_like(s) if s.grad is None else s.grad.clone() for name, s in scores.items()}


def snapshot(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors, by name."""
    return {name: value.detach().clone() for name, value in values.items()}


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether names and bits are equal."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@contextmanager
def outputs_checked(form: Supermask, inputs: Tensor) -> Iterator[None]:
    """Context at whose end the model's outputs are those of its mask, and the mask that of `expected_masks`."""
    yield
    model = form.model.eval()
    with torch.no_grad():
        outputs = model(inputs)
        assert torch.equal(outputs, copy.deepcopy(model)(inputs))
        assert torch.equal(outputs, plain(model)(inputs))
    assert Masks.of(model) == form.masks() == Masks(expected_masks(form))


def expected_masks(form: Supermask) -> dict[str, Tensor]:
    """The masks by sorting in Python."""
    free, rule = form.current_free(), form.rounding
    if isinstance(rule, Threshold):
        return {name: free[name] & (score > rule.threshold) for name, score in form.current_scores().items()}
    assert isinstance(rule, LayerTop)
    groups = [list(form.entries)] if isinstance(rule, GlobalTop) else [[name] for name in form.entries]
    counts = [rule.count] if isinstance(rule, GlobalTop) else list(rule.counts)
    masks = {name: torch.zeros_like(mask) for name, mask in free.items()}
    for names, count in zip(groups, counts, strict=True):
        sizes = {name: form.current_scores()[name].abs().flatten().tolist() for name in names}
        entries = [(n, i) for n in names for i, is_free in enumerate(free[n].flatten().tolist()) if is_free]
        for name, index in sorted(entries, key=lambda entry: -sizes[entry[0]][entry[1]])[:count]:
            masks[name].view(-1)[index] = True
    return masks
