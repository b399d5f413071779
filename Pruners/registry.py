"""Registries of criteria, quotas and schedules, readable without torch, and the parsing of pruner names.

A pruner's name is `criterion` or `criterion/quota`. A new criterion is a function
`(model, batches, generator) -> scores` in a file of this package, and one line below.
"""

from typing import NamedTuple

from Pruners.learned import LEARNED
from Utils.config.choices import DENSE
from Utils.errors import UserError, unknown


class Criterion(NamedTuple):
    """Registry entry of a function that scores weights."""

    target: str
    label: str
    colour: str
    marker: str
    about: str
    paper: str = ""
    needs_batches: bool = False
    """Whether the scores depend on training examples."""
    needs_trained: bool = False
    """Whether it scores the weights of a trained dense network; the pruned one starts from the initial weights."""
    pre_iterations: int | None = None
    """Default of `--pre_iterations`, the iterations that train this dense network; None: as many as the pruned one."""
    iterations: int = 1
    """Default of `--prune_iterations`: rounds of scoring and pruning."""
    takes_one_batch: bool = False
    """Whether each round scores one batch, the next one in turn, instead of all batches."""
    regrows: bool = False
    """Whether a round may restore weights pruned by an earlier round."""
    is_constant: bool = False
    """Whether the order of kept weights does not depend on what is pruned, so that further rounds change nothing."""
    is_of_batches: bool = False
    """Whether scores depend on which examples share a batch, even without batch normalisation."""
    is_of_units: bool = False
    """Whether all weights into a unit share the unit's score, so that they are not summed to score the unit."""
    prepare: str | None = None
    """Name of a function that transforms the scored copy of the network before the first round."""
    revision: int = 0
    """Raised when its mathematics changes, so that earlier results do not pass for those of the new scores."""

    @property
    def scores_trained(self) -> bool:
        """Whether it scores trained weights by default, without `--pre_iterations`."""
        return self.needs_trained and self.pre_iterations != 0

    @property
    def depends_on_target(self) -> bool:
        """Whether the order of the scores may differ between targets."""
        return self.iterations > 1


class Quota(NamedTuple):
    """Registry entry of a function that sets each layer's share of the kept weights."""

    target: str
    label: str
    colour: str | None
    """Colour in figures, in place of the criterion's; the marker stays the criterion's."""
    about: str
    paper: str = ""
    check: str | None = None
    """Name of a function that raises `UserError` for the scores of a network that the quota does not support."""
    options: tuple[str, ...] = ()
    """Flags that only this quota takes, and its arguments of the same names."""


class Schedule(NamedTuple):
    """Registry entry of a function that sets how many weights each round prunes."""

    target: str
    about: str


# The palette starts with the colours of Okabe and Ito, distinguishable with any colour vision.
CRITERIA: dict[str, Criterion] = {
    "random": Criterion(
        "Pruners.criteria.random:random", "Random", "#7f5539", "o", "nothing: the control", is_of_units=True,
    ),
    "magnitude": Criterion(
        "Pruners.criteria.magnitude:magnitude", "Magnitude", "#56b4e9", "s",
        "abs(w) of trained weights, rewound afterwards",
        "Han et al. 2015", needs_trained=True, is_constant=True,
    ),
    "mag": Criterion(
        "Pruners.criteria.magnitude:magnitude", "Magnitude at start", "#8172b3", "D", "abs(w) of the initial weights",
        "Tanaka et al. 2020", needs_trained=True, pre_iterations=0, is_constant=True,
    ),
    "lamp": Criterion(
        "Pruners.criteria.lamp:lamp", "LAMP", "#00c2c7", "p",
        "w² / sum of the layer's squares at least as large, rewound",
        "Lee et al. 2021", needs_trained=True, is_constant=True,
    ),
    "l1": Criterion(
        "Pruners.criteria.norms:l1", "Unit L1 norm", "#b79f00", "<", "norm of the weights into the same unit, rewound",
        "Li et al. 2017", needs_trained=True, is_of_units=True,
    ),
    "l2": Criterion(
        "Pruners.criteria.norms:l2", "Unit L2 norm", "#6a994e", ">", "norm of the weights into the same unit, rewound",
        "Li et al. 2017", needs_trained=True, is_of_units=True,
    ),
    "snip": Criterion(
        "Pruners.criteria.snip:snip", "SNIP", "#0072b2", "^", "sensitivity of the loss, abs(w dL/dw)",
        "Lee et al. 2019",
        needs_batches=True,
    ),
    "snip_iterative": Criterion(
        "Pruners.criteria.snip:snip", "SNIP-iterative", "#882255", "h", "the same, of what is left after each round",
        "de Jorge et al. 2021", needs_batches=True, iterations=300, takes_one_batch=True,
    ),
    "force": Criterion(
        "Pruners.criteria.snip:force", "FORCE", "#1f4e9e", "H", "the same, of all weights: pruned ones may return",
        "de Jorge et al. 2021", needs_batches=True, iterations=300, takes_one_batch=True, regrows=True,
    ),
    "3sp": Criterion(
        "Pruners.criteria.snip:units", "3SP", "#a05195", "8",
        "sensitivity of the loss to a whole unit, abs(sum of w dL/dw)",
        "van Amersfoort et al. 2020", needs_batches=True, is_of_units=True,
    ),
    "grasp": Criterion(
        "Pruners.criteria.grasp:grasp", "GraSP", "#c44e52", "P", "flow of the gradient, w (H g)", "Wang et al. 2020",
        needs_batches=True,
    ),
    "synflow": Criterion(
        "Pruners.criteria.synflow:synflow", "SynFlow", "#e69f00", "v", "synaptic flow, abs(w) dR/dabs(w), without data",
        "Tanaka et al. 2020", iterations=100, prepare="Pruners.criteria.linearised:linearise", revision=1,
    ),
    "taylor": Criterion(
        "Pruners.criteria.taylor:taylor", "Taylor", "#937860", "X", "mean over batches of (w dL/dw)²",
        "Molchanov et al. 2019",
        needs_batches=True, is_of_batches=True,
    ),
    "fisher": Criterion(
        "Pruners.criteria.fisher:fisher", "Fisher", "#da8bc3", "d", "w²/2 times the mean over examples of (dL/dw)²",
        "LeCun et al. 1990; Theis et al. 2018", needs_batches=True,
    ),
}  # fmt: skip
QUOTAS: dict[str, Quota] = {
    "global": Quota("Pruners.schedules.quotas:global_", "Global", None, "none: all weights compete (the default)"),
    "uniform": Quota("Pruners.schedules.quotas:uniform", "Uniform", "#cc79a7", "the same density everywhere"),
    "uniform_plus": Quota(
        "Pruners.schedules.quotas:uniform_plus", "Uniform+", "#3b3b98",
        "the same, but the first convolution stays dense and the last layer keeps a fifth", "Gale et al. 2019",
        check="Pruners.schedules.quotas:check_uniform_plus",
    ),
    "erk": Quota(
        "Pruners.schedules.quotas:erk", "ERK", "#009e73",
        "Erdős-Rényi kernel, re-solved where a layer would be more than dense", "Evci et al. 2020",
    ),
    "igq": Quota("Pruners.schedules.quotas:igq", "IGQ", "#d55e00", "ideal gas quotas", "Vysogorets & Kempe 2023"),
    "per_unit": Quota(
        "Pruners.schedules.quotas:per_unit", "Per unit", "#8c8c00", "the same density in every unit (row or filter)",
        "DwaraknathT/sparsity",
    ),
    "structured": Quota(
        "Pruners.schedules.structured:structured", "Structured", "#e377c2",
        "tiles drawn in the first units (rows or filters) of every layer", "sparse-network-analysis",
        check="Pruners.schedules.structured:check_structured", options=("draws", "active_rows", "tile"),
    ),
}  # fmt: skip
UNIT_QUOTAS = ("global", "uniform", "igq")
"""Quotas that also apply to whole units (`--prune_unit=unit`)."""
TRANSFER = "the shares that another criterion gives each layer, as `random/snip`"
"""Description of a criterion given in place of a quota."""
SCHEDULES: dict[str, Schedule] = {
    "exponential": Schedule(
        "Pruners.schedules.round_schedules:exponential", "each round keeps the same share (the default)"
    ),
    "linear": Schedule("Pruners.schedules.round_schedules:linear", "each round prunes the same number"),
    "polynomial": Schedule(
        "Pruners.schedules.round_schedules:polynomial", "many first, few in the end (cubic; Zhu & Gupta 2017)"
    ),
    "one-shot": Schedule("Pruners.schedules.round_schedules:linear", "all in one round"),
}
ALIASES = {"rand": "random", "snip/iterative": "snip_iterative"}
"""Names in the original programs, mapped to the names here."""


def split_name(name: str) -> tuple[str, str]:
    """The criterion and the quota in a pruner's name; raises `UserError` if either is unknown, or for learned masks.

    The quota may be the name of another criterion, whose shares per layer are then used.
    """
    head, slash, quota = ALIASES.get(name, name).partition("/")
    criterion = ALIASES.get(head, head)
    quota = ALIASES.get(quota, quota) if slash else "global"
    if criterion == DENSE:
        raise UserError(f"unknown pruner {name!r}: {DENSE} prunes nothing, so it takes no quota; write {DENSE}")
    if name in LEARNED:
        raise UserError(f"the masks of {name} are learned: write --experiment=supermask --algorithm={name}")
    if criterion not in CRITERIA:
        raise unknown("pruner", name, [*pruner_names(), *LEARNED], shown=[DENSE, *CRITERIA])
    if quota not in QUOTAS and quota not in CRITERIA:
        raise unknown(f"quota in pruner {name!r}:", quota, [*QUOTAS, *CRITERIA], shown=[*QUOTAS, "or another pruner"])
    return criterion, "global" if quota == criterion else quota


def canonical_name(name: str) -> str:
    """The canonical name of a pruner: aliases replaced, `global` omitted; `dense` and learned masks are unchanged."""
    if name == DENSE or name in LEARNED:
        return name
    criterion, quota = split_name(name)
    return criterion if quota == "global" else f"{criterion}/{quota}"


def parts(name: str) -> list[Criterion]:
    """The criteria in a pruner's name: the one that sets the order, then any that sets the shares per layer.

    `dense` and learned masks have none.
    """
    if name == DENSE or name in LEARNED:
        return []
    return [CRITERIA[part] for part in split_name(name) if part in CRITERIA]


def quota_options(name: str) -> tuple[str, ...]:
    """The flags that only the quota of a pruner takes."""
    quota = split_name(name)[1] if parts(name) else None
    return QUOTAS[quota].options if quota in QUOTAS else ()


def revision(name: str) -> str | None:
    """The revisions of a pruner's criteria that are not 0, as text; None if all are 0."""
    names = [part for part in split_name(name) if part in CRITERIA] if parts(name) else []
    return ",".join(f"{part}-{CRITERIA[part].revision}" for part in names if CRITERIA[part].revision) or None


def pruner_names() -> list[str]:
    """`dense` and every combination of a criterion with a quota or with another criterion's shares."""
    names = [canonical_name(f"{criterion}/{quota}") for criterion in CRITERIA for quota in (*QUOTAS, *CRITERIA)]
    return [DENSE, *dict.fromkeys(names)]


def style(name: str) -> tuple[str, str, str]:
    """Label, colour and marker of a pruner in figures."""
    if name == DENSE:
        return "Dense", "#555555", ""
    if name in LEARNED:
        return LEARNED[name][:3]
    criterion_name, quota_name = split_name(name)
    criterion = CRITERIA[criterion_name]
    quota = QUOTAS.get(quota_name) or CRITERIA[quota_name]
    if quota.colour is None:
        return criterion.label, criterion.colour, criterion.marker
    is_acronym = criterion.label[1:] != criterion.label[1:].lower()
    label = criterion.label if is_acronym else criterion.label.lower()
    return f"{quota.label} ({label})", quota.colour, criterion.marker
