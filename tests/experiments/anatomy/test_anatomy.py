"""The experiment `anatomy`: its networks, its tables, finished runs, interruptions and mistakes."""

import numpy as np
import pandas as pd
import pytest
from commands import call, runs

import main
import visualization
from Experiments.anatomy import networks
from Experiments.anatomy.networks import STATISTICS, measure_networks
from Experiments.anatomy.run import run as run_study
from Experiments.common.network import initial_model, load_data
from Layers import Masks
from Utils.connectivity.statistics.structural_rank import structural_rank
from Utils.errors import UserError
from Utils.results import load_summaries
from Utils.results.run_selection import runs_key, select_runs
from Utils.training.context import RunContext

SMALL = [
    "--experiment=anatomy", "--architecture=lenet300100", "--pruners", "snip", "random/erk", "mag",
    "--sparsities", "0.5", "0.9", "--samples=2", "--controls", "shuffle", "random", "--control_sparsities", "0.9",
    "--control_samples=1", "--resamples=50",
]  # fmt: skip
PRUNERS = ("snip", "random/erk", "mag")
EXPECTED = {
    *((name, level, sample, "none") for name in PRUNERS for level in (2, 10) for sample in (0, 1)),
    *((pruner, 10, 0, "shuffle") for pruner in ("snip", "mag")),
    *((f"random/{pruner}", 10, 0, "none") for pruner in ("snip", "mag")),
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    assert call(folder, *SMALL) == 0
    return folder


def table(results, name, index=0):
    folder = sorted((results / "anatomy").iterdir())[index]
    return pd.read_csv(folder / f"{name}.csv")


def test_every_network_and_its_controls_are_measured(results):
    rows = table(results, "networks")
    keys = zip(rows["pruner"], rows["target_compression"].round(), rows["sample"], rows["control"], strict=True)
    assert set(keys) == EXPECTED and len(rows) == len(EXPECTED)
    assert rows[[name for name in STATISTICS if name not in ("imdb", "ntk_condition")]].notna().all().all()
    study = load_summaries(results)
    assert study.loc[study["experiment"] == "anatomy", "networks"].item() == len(EXPECTED)


def test_statistics_are_those_of_the_stored_masks(results):
    rows = table(results, "networks").set_index("run")
    for run in select_runs(results, ["experiment=singleshot", "target_sparsity=0.9"]):
        data = load_data(run.settings.data_spec, "cpu")
        model = initial_model(run.settings.network_spec, data)
        Masks.load(run.folder / "masks.safetensors").install(model)
        row = rows.loc[run.key]
        assert row["structural_rank"] == structural_rank(model, data.input_shape)
        assert row["kept_direct"] == Masks.of(model).kept == run.row["kept_direct"]
        columns = ["structural_rank", "min_width", "participation_width", "empty_layers", "top1"]
        assert dict(row[columns]) == dict(run.row[columns]), "the cheap statistics are columns of every run"


def test_correlations_and_claims(results):
    relations, claims = table(results, "correlations"), table(results, "claims")
    assert set(relations["statistic"]) == set(STATISTICS)
    known = relations.dropna(subset=["spearman"])
    assert len(known) and known["spearman"].abs().max() <= 1 and (known["low"] <= known["high"]).all()
    assert {"holds", "holds in part", "mixed", "fails in part", "fails", "undecided", "not tested"} >= set(
        claims["verdict"]
    )
    assert set(table(results, "explained")["against"]) == {"direct_compression", "effective_compression"}


def test_finished_runs_give_the_same_tables(results, capsys):
    """The study over stored runs is another study with the same numbers; it trains nothing."""
    before = len(load_summaries(results))
    assert (
        main.main(
            [
                *SMALL[:2],
                "--data=digits",
                f"--out_path={results}",
                "--resamples=50",
                "--runs",
                "experiment=singleshot",
                "pruner=snip",
                "mag",
                "random/erk",
                "random/snip",
                "random/mag",
            ]
        )
        == 0
    )
    rows = load_summaries(results)
    assert "anatomy lenet300100 digits sample 0: complete" in capsys.readouterr().out
    assert len(rows) == before + 1 and (rows["experiment"] == "anatomy").sum() == 2
    first, second = (table(results, "networks", index).sort_values("run").reset_index(drop=True) for index in (0, 1))
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(*(table(results, "explained", index) for index in (0, 1)))


def test_runs_that_finish_meanwhile_are_not_measured(results):
    """The key of a study names the runs that it reads, so it reads no others."""
    words = ["--data=digits", f"--out_path={results}", "--runs", "experiment=singleshot", "pruner=snip"]
    (settings,) = runs(*SMALL[:2], *words)
    fewer = select_runs(results, ["experiment=singleshot", "pruner=snip"])[1:]
    with pytest.raises(UserError, match="other runs than at the start of this command are finished now"):
        run_study(settings.with_values(runs_key=runs_key(fewer)), {}, RunContext(has_bar=False))


def test_figures(results):
    assert visualization.main([f"--out_path={results}", "--experiment=anatomy"]) == 0
    drawn = {path.name for path in (results / "figures").glob("*.png")}
    assert drawn == {f"anatomy_lenet300100_digits_{kind}.png" for kind in ("anatomy", "anatomy-scatter")}


def test_an_interrupted_study_resumes(results, monkeypatch):
    (settings,) = runs(*SMALL, f"--out_path={results}", "--iterations=20", "--evaluate_every=10")
    chosen = select_runs(results, ["experiment=singleshot", "pruner=snip"])
    measured, original = [], networks._row

    def row(run, settings):
        if len(measured) == 3:
            raise KeyboardInterrupt
        measured.append(run.key)
        return original(run, settings)

    saved = {}
    monkeypatch.setattr(networks, "_row", row)
    context = RunContext(lambda event: saved.update({event.name: event.content}), checkpoint_every=1, has_bar=False)
    with pytest.raises(KeyboardInterrupt):
        measure_networks(chosen, settings, context)
    measured.clear()
    resumed = measure_networks(chosen, settings, RunContext(checkpoints=saved, has_bar=False))
    assert measured == [run.key for run in chosen[3:]]
    monkeypatch.setattr(networks, "_row", original)
    pd.testing.assert_frame_equal(resumed, measure_networks(chosen, settings, RunContext(has_bar=False)))


@pytest.mark.parametrize(("words", "message"), [
    (["--pruners", "dense", "snip"], "--pruners: dense prunes nothing"),
    (["--pruners", "gem-miner"], "the masks of gem-miner are learned"),
    (["--pruners", "snp"], "did you mean 'snip'?"),
    (["--pruner=snip"], "--pruner has no effect with --experiment=anatomy"),
    (["--target_sparsity=0.5"], "--target_sparsity has no effect with --experiment=anatomy"),
    (["--save=0"], "leave --save=0 out"),
    (["--sparsities", "90"], "--sparsities must be sparsities between 0 and 1"),
    (["--controls", "shufle"], "did you mean 'shuffle'?"),
    (["--runs", "experiment=multishot"], "--runs: no finished run has experiment=multishot; there are: "),
    (["--runs", "gone"], "gone names no finished run"),
    (["--runs", "pruner=snip", "--sparsities", "0.9"], "--sparsities has no effect with --runs"),
    (["--runs", "pruner=snip", "--lr=0.1"], "--lr has no effect with --runs"),
])  # fmt: skip
def test_mistakes(results, words, message, capsys):
    before = sorted(results.rglob("*"))
    assert main.main([*SMALL[:2], "--data=digits", f"--out_path={results}", *words]) == 2
    text = capsys.readouterr().err
    assert message in text and len(text.strip().splitlines()) == 1
    assert sorted(results.rglob("*")) == before


def test_masks_that_are_gone(results, tmp_path, capsys):
    assert call(tmp_path, "--pruner=snip", "--target_sparsity=0.9") == 0
    (masks,) = tmp_path.rglob("masks.safetensors")
    masks.unlink()
    words = ["--experiment=anatomy", "--data=digits", f"--out_path={tmp_path}", "--runs", "pruner=snip"]
    assert main.main(words) == 2
    assert "has no masks any more" in capsys.readouterr().err


def test_conditions_are_logarithms(results):
    rows = table(results, "networks")
    finite = rows["ntk_condition"].replace(np.inf, np.nan).dropna()
    assert (finite >= 0).all()
