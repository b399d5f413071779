"""Claims: what published papers say about sparse networks, each tested on the networks of the study.

A claim is tested at each level, or for each length of training, and holds, fails or stays undecided there. Differences
of accuracy are paired by sample; an interval is that of Student's t at 95%, over samples of these pruners. A difference
below `_SMALL` is none.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from Experiments.anatomy.differences import difference
from Experiments.anatomy.relations import Level, at_target, by_level
from Pruners.registry import parts

_SMALL = 0.01
"""Top-1 of a difference that does not count."""

_STRONG = 0.5
"""Spearman correlation from which on a statistic is said to predict accuracy."""

CLAIM_COLUMNS = ("claim", "source", "verdict", "where", "networks", "effect")

_TOPOLOGICAL = (
    "structural_rank", "min_width", "participation_width", "effective_nodes", "log_paths", "spectral_gap", "imdb",
)  # fmt: skip


class Finding(NamedTuple):
    """What a claim came to at one level, or for one length of training."""

    place: str
    verdict: str
    """`holds`, `fails` or `undecided`."""
    networks: int
    effect: str


@dataclass(frozen=True)
class Study:
    """The tables that claims are tested on."""

    networks: pd.DataFrame
    correlations: pd.DataFrame
    explained: pd.DataFrame

    def by_level(self, control: str = "none") -> Iterator[tuple[str, pd.DataFrame]]:
        """Each level in words, with its networks of one control; without a control, those at their target."""
        rows = self.networks[self.networks["control"] == control]
        rows = at_target(rows) if control == "none" else rows
        return self._with_words(rows)

    def related(self, statistics: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
        """Each level in words, with the correlations of these statistics that have an interval there."""
        rows = self.correlations[self.correlations["statistic"].isin(statistics)].dropna(subset=["low", "high"])
        return self._with_words(rows)

    def _with_words(self, rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
        shortest = int(self.networks["iterations"].min())
        return ((_in_words(level, shortest), group) for level, group in by_level(rows))


def _in_words(level: Level, shortest: int) -> str:
    """The sparsity of a level, and its length of training unless that is the shortest."""
    iterations, compression = level
    return f"{1 - 1 / compression:.10g}" + (f" after {iterations} steps" if iterations > shortest else "")


class Claim(NamedTuple):
    """A published claim and its test."""

    text: str
    source: str
    test: Callable[[Study], list[Finding]]


def claims(networks: pd.DataFrame, correlations: pd.DataFrame, explained: pd.DataFrame) -> pd.DataFrame:
    """One row per claim (`CLAIM_COLUMNS`): its verdict over all places, where it holds and fails, and each effect.

    `networks` has one row per network, `correlations` and `explained` are those of `relations`.
    """
    study = Study(networks, correlations, explained)
    return pd.DataFrame([_row(claim, claim.test(study)) for claim in CLAIMS], columns=list(CLAIM_COLUMNS))


def _row(claim: Claim, findings: Sequence[Finding]) -> tuple[str, str, str, str, int, str]:
    if not findings:
        return claim.text, claim.source, "not tested", "", 0, ""
    verdict = _over_all({finding.verdict for finding in findings})
    places = {name: [one.place for one in findings if one.verdict == name] for name in ("holds", "fails", "undecided")}
    where = "; ".join(f"{name} at {', '.join(found)}" for name, found in places.items() if found)
    effect = "; ".join(f"{one.place}: {one.effect}" for one in findings)
    return claim.text, claim.source, verdict, where, sum(one.networks for one in findings), effect


def _over_all(verdicts: set[str]) -> str:
    """One verdict from those of all places."""
    if len(verdicts) == 1:
        return next(iter(verdicts))
    if {"holds", "fails"} <= verdicts:
        return "mixed"
    return "holds in part" if "holds" in verdicts else "fails in part"


def _not_worse(place: str, left: pd.DataFrame, right: pd.DataFrame, words: str) -> list[Finding]:
    """Whether one pruner is at least as accurate as another, over their common samples; empty without any."""
    left, right = (one[one["sample"].isin(other["sample"])] for one, other in ((left, right), (right, left)))
    if left.empty:
        return []
    found = difference(left.groupby("sample")["top1"].mean() - right.groupby("sample")["top1"].mean())
    verdict = "holds" if found.low > -_SMALL else "fails" if found.high < -_SMALL else "undecided"
    return [Finding(place, verdict, len(left) + len(right), f"{found} {words}")]


def _best(group: pd.DataFrame, pruners: Sequence[str]) -> pd.DataFrame:
    """The networks of the pruner with the highest mean top-1 of several; empty if none is there.

    A pruner with a single sample is left out where others have several: its mean says little.
    """
    part = group[group["pruner"].isin(pruners)]
    if part.empty:
        return part
    samples = part.groupby("pruner")["sample"].nunique()
    part = part[part["pruner"].map(samples) >= min(2, samples.max())]
    return part[part["pruner"] == part.groupby("pruner")["top1"].mean().idxmax()]


def _igq_is_best(study: Study) -> list[Finding]:
    """Whether IGQ is no worse than the best of all other random masks."""
    return _best_against_best(study, lambda name: name == "random/igq", lambda name: name.startswith("random"))


def _erk_is_enough(study: Study) -> list[Finding]:
    """Whether random masks by ERK are no worse than the best criterion."""
    return _best_against_best(study, lambda name: name == "random/erk", lambda name: not name.startswith("random"))


def _data_matters(study: Study) -> list[Finding]:
    """Whether the best pruner without data is no worse than the best one that scores data."""
    return _best_against_best(study, _is_free_of_data, _scores_data)


def _scores_data(pruner: str) -> bool:
    """Whether the order of a pruner comes from data; not if only its layer densities do."""
    return any(criterion.needs_batches for criterion in parts(pruner)[:1])


def _is_free_of_data(pruner: str) -> bool:
    """Whether neither the order nor the layer densities of a pruner come from data, or from trained weights."""
    return not any(criterion.needs_batches or criterion.scores_trained for criterion in parts(pruner))


def _best_against_best(study: Study, own: Callable[[str], bool], others: Callable[[str], bool]) -> list[Finding]:
    """Test at each level that the best pruner of some is no worse than the best of others, itself apart."""
    findings = []
    for place, group in study.by_level():
        names = group["pruner"].unique()
        left = _best(group, [name for name in names if own(name)])
        right = _best(group, [name for name in names if others(name) and not own(name)])
        if len(left) and len(right):
            words = f"{left['pruner'].iloc[0]} against {right['pruner'].iloc[0]}"
            findings += _not_worse(place, left, right, words)
    return findings


def _control(name: str) -> Callable[[Study], list[Finding]]:
    """Test that a control is as accurate as its originals, over all pruners that have it."""

    def test(study: Study) -> list[Finding]:
        originals = dict(study.by_level())
        findings = []
        for place, group in study.by_level(name):
            findings += _compared_to_originals(place, group, originals.get(place, group[:0]))
        return findings

    return test


def _random_positions(study: Study) -> list[Finding]:
    """Test random positions in a pruner's layer densities against the pruner, at the same effective sparsity."""
    findings = []
    for place, group in study.by_level():
        drawn = group[group["pruner"].str.startswith("random/")]
        drawn = drawn.assign(pruner=drawn["pruner"].str.removeprefix("random/"))
        findings += _compared_to_originals(place, drawn, group)
    return findings


def _compared_to_originals(place: str, control: pd.DataFrame, originals: pd.DataFrame) -> list[Finding]:
    """Whether a control is as accurate as the networks of the same pruners and samples; empty without any.

    Samples that lack one of the pruners are left out, since pruners differ.
    """
    tables = [one.pivot_table("top1", "sample", "pruner") for one in (control, originals)]
    differences = (tables[0] - tables[1]).dropna(axis=1, how="all").dropna()
    if differences.empty:
        return []
    found = difference(differences.mean(axis=1))
    is_same, differs = found.low > -_SMALL and found.high < _SMALL, found.high < -_SMALL or found.low > _SMALL
    verdict = "holds" if is_same else "fails" if differs else "undecided"
    of_pruners = differences.mean().sort_values().iloc[[0, -1]]
    effect = ", ".join([str(found), *(f"{mean:+.3f} of {name}" for name, mean in of_pruners.items())])
    return [Finding(place, verdict, 2 * differences.size, effect)]


def _effective_explains(study: Study) -> list[Finding]:
    findings = []
    for iterations, group in study.explained.groupby("iterations"):
        share = group.set_index("against")["share"]
        direct, effective = share["direct_compression"], share["effective_compression"]
        verdict = "holds" if effective > direct + _SMALL else "fails" if effective < direct - _SMALL else "undecided"
        effect = f"effective {effective:.3f}, direct {direct:.3f}"
        findings.append(Finding(f"{iterations} steps", verdict, int(group["networks"].iloc[0]), effect))
    return findings


def _predicts(*statistics: str, sign: int = 0) -> Callable[[Study], list[Finding]]:
    """Test that one of some statistics predicts accuracy at a level, with a correlation of this sign, if it has one.

    A statistic predicts if its whole interval is beyond `_STRONG`, and does not if none of it is.
    """

    def test(study: Study) -> list[Finding]:
        findings = []
        for place, group in study.related(statistics):
            verdicts = {_of_interval(low, high, sign) for low, high in group[["low", "high"]].to_numpy()}
            verdict = "holds" if "holds" in verdicts else "undecided" if "undecided" in verdicts else "fails"
            findings.append(Finding(place, verdict, *_strongest(group)))
        return findings

    return test


def _of_interval(low: float, high: float, sign: int) -> str:
    """Whether a correlation with this interval is strong, and of this sign if it is not 0."""
    reaches = (sign * low, sign * high) if sign else (low, high) if low + high > 0 else (-low, -high)
    if min(reaches) > _STRONG:
        return "holds"
    return "fails" if max(reaches) < _STRONG else "undecided"


def _is_unrelated(statistic: str) -> Callable[[Study], list[Finding]]:
    """Test that a statistic is unrelated to accuracy at a level.

    It is if its interval is within `_STRONG` and includes 0, and is not if its interval excludes 0.
    """

    def test(study: Study) -> list[Finding]:
        findings = []
        for place, group in study.related([statistic]):
            low, high = group[["low", "high"]].iloc[0]
            is_weak = max(-low, high) < _STRONG
            verdict = "fails" if low * high > 0 else "holds" if is_weak else "undecided"
            findings.append(Finding(place, verdict, *_strongest(group)))
        return findings

    return test


def _strongest(group: pd.DataFrame) -> tuple[int, str]:
    """The networks and the correlation of the statistic that is most strongly related."""
    best = group.iloc[int(group["spearman"].abs().to_numpy().argmax())]
    effect = f"{best['statistic']} {best['spearman']:+.2f} [{best['low']:.2f}, {best['high']:.2f}]"
    return int(best["networks"]), effect


CLAIMS = (
    Claim("IGQ is the best random quota", "Vysogorets & Kempe 2023", _igq_is_best),
    Claim("effective compression explains accuracy better than direct", "Vysogorets & Kempe 2023", _effective_explains),
    Claim("positions inside layers do not matter (masks shuffled)", "Su et al. 2020; Frankle et al. 2021",
          _control("shuffle")),
    Claim("positions inside layers do not matter (random ones of the same effective sparsity)",
          "Su et al. 2020; Frankle et al. 2021", _random_positions),
    Claim("initial weights do not matter (others for the same mask)", "Frankle et al. 2021", _control("reinitialize")),
    Claim("random masks by ERK are enough", "Evci et al. 2020; Liu et al. 2022", _erk_is_enough),
    Claim("masks need no data", "Su et al. 2020; Tanaka et al. 2020", _data_matters),
    Claim("the balance of nodes and paths decides", "Pham et al. 2023 (NPB)", _predicts("node_path_balance", sign=1)),
    Claim("the Ramanujan property is unrelated to accuracy", "Hoang et al. 2023",
          _is_unrelated("difference_of_bound")),
    Claim("the iterative mean difference of bound predicts accuracy", "Hoang et al. 2023 (IMDB)",
          _predicts("imdb", sign=1)),
    Claim("topological measures predict accuracy (one of them)", "Cunegatti et al. 2024",
          _predicts(*_TOPOLOGICAL)),
    Claim("the narrowest cut predicts accuracy (structural rank)", "pilot studies",
          _predicts("structural_rank", sign=1)),
)  # fmt: skip
