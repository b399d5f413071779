"""The registries of criteria and quotas, readable without torch, and `make_pruner`, which combines them.

A pruner's name is `criterion` or `criterion/quota`. A new criterion is a function
`(model, batches, target, generator) -> scores` in a file here, and a line below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from Utils.errors import unknown
from Utils.settings import DENSE

if TYPE_CHECKING:
    from Pruners.pruner import Pruner


class Criterion(NamedTuple):
    """What scores single weights."""

    target: str
    label: str
    colour: str
    marker: str
    about: str
    needs_batches: bool = False
    """Whether the scores depend on training examples."""
    needs_trained: bool = False
    """Whether it scores the weights of a trained dense network; the pruned one starts from the initial weights."""
    depends_on_target: bool = False
    """Whether it prunes step by step towards a target, so that another target may give another order."""


class Quota(NamedTuple):
    """What shares out the weights that are kept between layers."""

    target: str
    label: str
    colour: str | None
    """Drawn instead of the criterion's colour; the marker stays."""
    about: str


# Colours after Okabe and Ito, which readers with any colour vision can tell apart.
CRITERIA: dict[str, Criterion] = {
    "random": Criterion("Pruners.random:random", "Random", "#7f5539", "o", "nothing: the control"),
    "magnitude": Criterion(
        "Pruners.magnitude:magnitude", "Magnitude", "#56b4e9", "s",
        "weights of a dense run of the same sample (found in `Results/`, else trained first), rewound afterwards",
        needs_trained=True,
    ),
    "mag": Criterion(
        "Pruners.magnitude:magnitude", "Magnitude at start", "#8172b3", "D", "initial weights by magnitude"
    ),
    "snip": Criterion(
        "Pruners.snip:snip", "SNIP", "#0072b2", "^", "sensitivity of the loss, abs(w dL/dw) (Lee et al. 2019)",
        needs_batches=True,
    ),
    "synflow": Criterion(
        "Pruners.synflow:synflow", "SynFlow", "#e69f00", "v",
        "synaptic flow in 100 steps, without data (Tanaka et al. 2020)", depends_on_target=True,
    ),
}  # fmt: skip
QUOTAS: dict[str, Quota] = {
    "global": Quota("Pruners.quotas:global_", "Global", None, "none: all weights compete (the default)"),
    "uniform": Quota("Pruners.quotas:uniform", "Uniform", "#cc79a7", "the same density everywhere"),
    "erk": Quota(
        "Pruners.quotas:erk", "ERK", "#009e73",
        "Erdős-Rényi kernel, re-solved where a layer would be more than dense (Evci et al. 2020)",
    ),
    "igq": Quota("Pruners.quotas:igq", "IGQ", "#d55e00", "ideal gas quotas (Vysogorets & Kempe 2023)"),
}  # fmt: skip
ALIASES = {"rand": "random"}
"""Names of the original programs."""


def split_name(name: str) -> tuple[str, str]:
    """The criterion and the quota that a pruner's name stands for; raises `UserError` for unknown ones."""
    head, _, quota = ALIASES.get(name, name).partition("/")
    criterion = ALIASES.get(head, head)
    quota = quota or "global"
    if criterion not in CRITERIA:
        raise unknown("pruner", name, pruner_names())
    if quota not in QUOTAS:
        raise unknown(f"quota in pruner {name!r}:", quota, QUOTAS)
    return criterion, quota


def canonical_name(name: str) -> str:
    """The one name of a pruner: aliases replaced, `global` left out; `dense` is its own."""
    if name == DENSE:
        return name
    criterion, quota = split_name(name)
    return criterion if quota == "global" else f"{criterion}/{quota}"


def pruner_names() -> list[str]:
    """`dense` and every combination of a criterion and a quota."""
    return [DENSE, *(canonical_name(f"{criterion}/{quota}") for criterion in CRITERIA for quota in QUOTAS)]


def style(name: str) -> tuple[str, str, str]:
    """How figures show a pruner: label, colour, marker."""
    if name == DENSE:
        return "Dense", "#555555", ""
    criterion_name, quota_name = split_name(name)
    criterion, quota = CRITERIA[criterion_name], QUOTAS[quota_name]
    if quota.colour is None:
        return criterion.label, criterion.colour, criterion.marker
    return f"{quota.label} ({criterion.label.lower()})", quota.colour, criterion.marker


def make_pruner(name: str) -> Pruner:
    """The pruner of a name such as `"snip"` or `"random/igq"`; raises `UserError` for an unknown one."""
    from Pruners.pruner import Pruner

    return Pruner.named(*split_name(name))
