"""Comparison: computes the tables of each part, tests the claims of the thesis, and writes the report."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from tqdm import tqdm

from Experiments.comparison.networks import Network
from Experiments.comparison.pairs import check_same_layers
from Experiments.comparison.report.page import REPORT, page
from Experiments.comparison.study.claims import claims
from Experiments.comparison.study.loading import compared_data, load_networks, selected
from Experiments.comparison.study.parts import STEPS, Comparison, Tables
from Utils.config.resolved import Recipe
from Utils.config.settings import Settings
from Utils.errors import UserError
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.results.predictions import has_predictions
from Utils.results.run_selection import StoredRun
from Utils.training.context import RunContext, WarningIssued


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Compare the networks of `--runs` and `--files`; needs no other run."""
    runs = selected(settings)
    networks = load_networks(settings, runs, context)
    check_same_layers(networks)
    _say_what_is_left_out(settings, networks, context)
    recipe = runs[0].settings.recipe if runs else Recipe(batchnorm=settings.training.batchnorm, batch_size=128)
    compared = Comparison(settings, networks, compared_data(settings, runs), recipe)
    tables = {"networks": _listed(networks, runs), **_computed(compared, context)}
    tables = {name: table for name, table in tables.items() if len(table)}
    if (found := claims(tables)) is not None:
        tables["claims"] = found
    summary = {"networks": len(networks)}
    if not settings.options.report:
        return Outcome.of_study(tables, summary)
    return Outcome.of_study(tables, summary, {REPORT: page(settings, tables).encode()})


def _say_what_is_left_out(settings: Settings, networks: Sequence[Network], context: RunContext) -> None:
    """Warn of networks that lack what a part reads; raises `UserError` if nothing else is compared."""
    lacking = {
        "outcomes": [network.name for network in networks if not network.folder],
        "predictions": [one.name for one in networks if not (one.folder and has_predictions(one.folder))],
    }
    advice = {
        "outcomes": "files have no table of their training",
        "predictions": "only runs with --save_predictions store them; --overwrite repeats the others",
    }
    for part, names in lacking.items():
        if names and part in settings.options.parts:
            are_all = len(names) == len(networks)
            if are_all and settings.options.parts == (part,):
                raise UserError(f"--parts={part}: there is nothing to compare: {advice[part]}")
            few = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
            left_out = "all networks" if are_all else f"{len(names)} of {len(networks)} networks ({few})"
            context.listener(WarningIssued(f"{part} leave out {left_out}: {advice[part]}"))


def _listed(networks: Sequence[Network], runs: Sequence[StoredRun]) -> pd.DataFrame:
    """A row per network: what it is called in tables, its run, and what this run reached."""
    by_key = {run.key: run.row for run in runs}
    rows = []
    for one in networks:
        rows.append(one.columns | {"run": one.key} | (_reached(by_key[one.key]) if one.key else {}))
    return pd.DataFrame(rows)


def _reached(row: pd.Series) -> dict[str, Any]:
    return {
        "experiment": row["experiment"],
        "pruner": row["pruner"],
        "density": 1 / row["target_compression"],
        "effective_density": 1 - row["effective_sparsity"],
        **{name: row[name] for name in row.index if name == "top1" or name.endswith("_top1")},
    }


def _computed(compared: Comparison, context: RunContext) -> Tables:
    """The tables of all parts; an interrupted study resumes after the steps of its last checkpoint."""
    steps = list(_steps(compared))
    stage = context.stage("comparison")
    state = stage.load_checkpoint() or {"done": 0, "tables": {}}
    done, tables = state["done"], {name: pd.DataFrame(columns) for name, columns in state["tables"].items()}
    bar = tqdm(
        steps[done:], desc="comparing", unit="step", initial=done, total=len(steps), leave=False,
        disable=None if context.has_bar else True, position=context.bars_above, dynamic_ncols=True,
    )  # fmt: skip
    for words, step in bar:
        bar.set_postfix_str(words)
        for name, table in step().items():
            tables[name] = pd.concat([tables[name], table], ignore_index=True) if name in tables else table
        done += 1
        if stage.is_due(done, done == len(steps)):
            stage.save_checkpoint({"done": done, "tables": {name: _plain(table) for name, table in tables.items()}})
    return tables


def _steps(compared: Comparison) -> Iterator[tuple[str, Callable[[], Tables]]]:
    for part, steps in STEPS.items():
        if part in compared.settings.options.parts:
            yield from steps(compared)


def _plain(table: pd.DataFrame) -> dict[str, list[Any]]:
    """The columns of a table as plain values, which a checkpoint holds."""
    return {str(name): column.tolist() for name, column in table.items()}
