"""Claims: what published papers say about sparse networks, each tested on the networks of the study.

A claim is tested at each level, or for each length of training, and holds, fails or stays undecided there. Differences
of accuracy are paired by sample; an interval is that of Student's t at 95%. A difference below `_SMALL` is none.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from Experiments.anatomy.relations import Level, at_target, by_level

_SMALL = 0.01
"""Top-1 of a difference that does not count."""

_STRONG = 0.5
"""Spearman correlation from which on a statistic is said to predict accuracy."""

CLAIM_COLUMNS = ("claim", "source", "verdict", "where", "networks", "effect")

_DATA_FREE = ("random", "random/erk", "random/igq")
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
        """Yield each level in words, with its networks of one control; without a control, those at their target."""
        rows = self.networks[self.networks["control"] == control]
        rows = at_target(rows) if control == "none" else rows
        lengths = self.networks["iterations"].nunique()
        for level, group in by_level(rows):
            yield _in_words(level, lengths), group


def _in_words(level: Level, lengths: int) -> str:
    """The sparsity of a level, and its length of training if there are several."""
    iterations, compression = level
    return f"{1 - 1 / compression:.4g}" + (f" after {iterations} steps" if lengths > 1 else "")


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
    verdicts = {finding.verdict for finding in findings}
    if not findings:
        return claim.text, claim.source, "not tested", "", 0, ""
    verdict = verdicts.pop() if len(verdicts) == 1 else "in part"
    places = {name: [one.place for one in findings if one.verdict == name] for name in ("holds", "fails", "undecided")}
    where = "; ".join(f"{name} at {', '.join(found)}" for name, found in places.items() if found)
    effect = "; ".join(f"{one.place}: {one.effect}" for one in findings)
    return claim.text, claim.source, verdict, where, sum(one.networks for one in findings), effect


def difference(left: pd.DataFrame, right: pd.DataFrame) -> tuple[float, float, float]:
    """Mean difference of top-1, left - right, over common samples, and the ends of its interval.

    Networks of one sample are averaged first. With a single common sample, the interval is infinite; nan without one.
    """
    pairs = (left.groupby("sample")["top1"].mean() - right.groupby("sample")["top1"].mean()).dropna()
    if pairs.empty:
        return np.nan, np.nan, np.nan
    mean, count = float(pairs.mean()), len(pairs)
    if count < 2:
        return mean, -np.inf, np.inf
    half = float(student.ppf(0.975, count - 1) * pairs.std(ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half


def _not_worse(place: str, left: pd.DataFrame, right: pd.DataFrame, words: str = "") -> Finding:
    """Whether the networks on the left are at least as accurate as those on the right."""
    mean, low, high = difference(left, right)
    verdict = "holds" if low > -_SMALL else "fails" if high < -_SMALL else "undecided"
    return Finding(place, verdict, len(left) + len(right), f"{mean:+.3f} [{low:.3f}, {high:.3f}]{words}")


def _best(group: pd.DataFrame, pruners: Sequence[str]) -> pd.DataFrame:
    """The networks of the pruner with the highest mean top-1 of several; empty if none is there."""
    part = group[group["pruner"].isin(pruners)]
    return part if part.empty else part[part["pruner"] == part.groupby("pruner")["top1"].mean().idxmax()]


def _igq_is_best(study: Study) -> list[Finding]:
    findings = []
    for place, group in study.by_level():
        own, other = (
            group[group["pruner"] == "random/igq"],
            _best(group, [name for name in _DATA_FREE if "igq" not in name]),
        )
        if len(own) and len(other):
            findings.append(_not_worse(place, own, other, f" against {other['pruner'].iloc[0]}"))
    return findings


def _erk_is_enough(study: Study) -> list[Finding]:
    findings = []
    for place, group in study.by_level():
        scored = [name for name in group["pruner"].unique() if not name.startswith("random")]
        own, other = group[group["pruner"] == "random/erk"], _best(group, scored)
        if len(own) and len(other):
            findings.append(_not_worse(place, own, other, f" against {other['pruner'].iloc[0]}"))
    return findings


def _data_matters(study: Study) -> list[Finding]:
    """Whether the best criterion with data is no better than the best random mask."""
    findings = []
    for place, group in study.by_level():
        randoms = [name for name in group["pruner"].unique() if name.startswith("random")]
        own, other = (
            _best(group, randoms),
            _best(group, ("snip", "snip_iterative", "grasp", "fisher", "taylor", "force")),
        )
        if len(own) and len(other):
            findings.append(
                _not_worse(place, own, other, f" {own['pruner'].iloc[0]} against {other['pruner'].iloc[0]}")
            )
    return findings


def _control(name: str) -> Callable[[Study], list[Finding]]:
    """Test that a control is at least as accurate as its originals, over all pruners that have it."""

    def test(study: Study) -> list[Finding]:
        originals = dict(study.by_level())
        findings = []
        for place, group in study.by_level(name):
            same = originals.get(place, group[:0]).merge(group[["pruner", "sample"]].drop_duplicates())
            if len(same):
                findings.append(_not_worse(place, group, same))
        return findings

    return test


def _random_positions(study: Study) -> list[Finding]:
    """Test random positions in a pruner's layer densities against the pruner, at the same effective sparsity."""
    findings = []
    for place, group in study.by_level():
        drawn = group[group["pruner"].str.startswith("random/")].assign(source=lambda rows: rows["pruner"].str[7:])
        own = group[group["pruner"].isin(drawn["source"])]
        drawn = drawn[drawn["source"].isin(own["pruner"])]
        same = own.merge(drawn[["source", "sample"]].rename(columns={"source": "pruner"}))
        if len(same):
            findings.append(_not_worse(place, drawn, same))
    return findings


def _effective_explains(study: Study) -> list[Finding]:
    findings = []
    for iterations, group in study.explained.groupby("iterations"):
        share = group.set_index("against")["share"]
        direct, effective = share["direct_compression"], share["effective_compression"]
        verdict = "holds" if effective > direct + _SMALL else "fails" if effective < direct - _SMALL else "undecided"
        effect = f"effective {effective:.3f}, direct {direct:.3f}"
        findings.append(Finding(f"{iterations} steps", verdict, int(group["networks"].iloc[0]), effect))
    return findings


def _predicts(*statistics: str, is_related: bool = True) -> Callable[[Study], list[Finding]]:
    """Test that the best of some statistics predicts accuracy at a level, or that none is related to it."""

    def test(study: Study) -> list[Finding]:
        lengths = study.correlations["iterations"].nunique()
        findings = []
        rows = study.correlations[study.correlations["statistic"].isin(statistics)].dropna(subset=["spearman"])
        for level, group in by_level(rows):
            best = group.iloc[int(group["spearman"].abs().to_numpy().argmax())]
            low, high = sorted((abs(best["low"]), abs(best["high"])))
            has_sign = best["low"] * best["high"] > 0
            if is_related:
                verdict = "holds" if has_sign and low > _STRONG else "fails" if high < _STRONG else "undecided"
            else:
                verdict = "fails" if has_sign else "holds"
            effect = f"{best['statistic']} {best['spearman']:+.2f} [{best['low']:.2f}, {best['high']:.2f}]"
            findings.append(Finding(_in_words(level, lengths), verdict, int(best["networks"]), effect))
        return findings

    return test


def _no_collapse(study: Study) -> list[Finding]:
    findings = []
    for place, group in study.by_level():
        own = group[group["pruner"] == "synflow"]
        if len(own):
            empty = int((own["empty_layers"] > 0).sum())
            effect = f"{empty} of {len(own)} have an empty layer"
            findings.append(Finding(place, "fails" if empty else "holds", len(own), effect))
    return findings


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
    Claim("the balance of nodes and paths decides", "Pham et al. 2023 (NPB)", _predicts("node_path_balance")),
    Claim("the Ramanujan property is unrelated to accuracy", "Hoang et al. 2023",
          _predicts("difference_of_bound", is_related=False)),
    Claim("the iterative mean difference of bound predicts accuracy", "Hoang et al. 2023 (IMDB)", _predicts("imdb")),
    Claim("topological measures predict accuracy (the best of them)", "Cunegatti et al. 2024",
          _predicts(*_TOPOLOGICAL)),
    Claim("the narrowest cut predicts accuracy (structural rank)", "pilot studies", _predicts("structural_rank")),
    Claim("SynFlow leaves no layer empty before it must", "Tanaka et al. 2020", _no_collapse),
)  # fmt: skip
