"""What `compare` is asked: names of networks, the architecture and data of runs, and mistakes in one line each."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from commands import call, execute
from safetensors.torch import load_file, save_file

from Experiments.comparison.study.naming import groups_of, names_of
from Utils.results.run_selection import StoredRun
from Utils.results.summaries import read_summaries

COMPARE = ["--experiment=compare", "--parts=densities"]


@pytest.fixture(scope="module")
def shared_results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for words in (["--pruner", "snip", "random", "--sample", "0", "1"], ["--architecture=fc", "--image_size=28"]):
        assert call(folder, "--target_sparsity=0.8", *words) == 0
    return folder


@pytest.fixture
def results(shared_results, tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(shared_results, tmp_path / "results"))


def folder_of(results: Path, query: str) -> Path:
    return Path(read_summaries(results).rows.query(query)["folder"].iloc[0])


def refused(capsys, results: Path, *words: str) -> str:
    """The line that a command ends with, which must be one and leave nothing behind."""
    assert execute(results, *COMPARE[: 1 if "--parts=predictions" in words else None], *words) in (1, 2)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return captured.out + captured.err


@pytest.mark.parametrize(("words", "message"), [
    ([], "--experiment=compare needs networks: --runs of finished runs, --files of weights, or both"),
    (["--runs", "pruner=snip", "sample=0", "architecture=lenet300100"], "a comparison needs two networks or more, and"),
    (["--runs", "pruner=synflow"], "--runs: no finished run has pruner=synflow; there are: random, snip"),
    (["--runs", "pruners=snip"], "unknown setting of --runs 'pruners'; did you mean 'pruner'?"),
    (["--runs", "pruner=snip"], "several values of architecture: fc, lenet300100; add architecture=fc to --runs"),
    (["--runs", "nothing"], "--runs: nothing names no finished run of a network"),
    (["--files", "absent.pt", "b.pt"], "--files: absent.pt is no file; give FILE or GROUP=FILE"),
    (["--files", "group=absent.pt", "b.pt"], "--files: absent.pt is no file"),
    (["--files", "group=", "b.pt"], "--files: group= lacks a file behind the ="),
    (["--files", "/", "b.pt"], "--files: / is a folder; give FILE or GROUP=FILE"),
    (["--runs", "pruner=random,snp"], "--runs: no finished run has pruner=snp; there are: random, snip"),
    (["--runs", "pruner=random", "target_density=0.3"], "no finished run has target_sparsity=0.7; there are: 0.8"),
    (["--runs", "pruner=random", "target_density=x"], "--runs: target_density=x is not a number"),
    (["--runs", "architecture=fc", "--architecture=lenet300100"], "no finished run has architecture=fc; there"),
    (["--runs", "pruner=random", "--parts=distance"], "unknown value of --parts 'distance'; did you mean 'distances'?"),
    (["--runs", "pruner=random", "--alignment=tie"], "did you mean 'tied'?"),
    (["--runs", "pruner=random", "--nulls=-1"], "--nulls must be at least 0, not -1"),
    (["--runs", "pruner=random", "--parts=paths", "--points=1"], "--points must be at least 2, both ends, not 1"),
    (["--runs", "pruner=random", "--points=5"], "--points has no effect without paths in --parts; leave it out"),
    (["--runs", "pruner=random", "--lr=0.1"], "--lr has no effect with --experiment=compare, which prunes and trains"),
    (["--runs", "pruner=random", "--mean=0.5"], "--mean has no effect with --runs, whose networks have theirs"),
])  # fmt: skip
def test_mistakes_in_a_command_are_one_line_and_leave_nothing(shared_results, capsys, words, message):
    text = refused(capsys, shared_results, *words)
    assert message in text and text.count("\n") == 1
    assert not (shared_results / "compare").exists()


@pytest.mark.parametrize(("damage", "message"), [
    (lambda folder: (folder / "weights.safetensors").unlink(), "has no weights any more; the same main.py command"),
    (lambda folder: (folder / "masks.safetensors").unlink(), "has no masks any more; the same main.py command"),
    (lambda folder: (folder / "weights.safetensors").write_bytes(b"x" * 99), "weights.safetensors is damaged"),
], ids=["no weights", "no masks", "damaged"])  # fmt: skip
def test_runs_that_lack_what_is_compared_are_named(results, capsys, damage, message):
    folder = folder_of(results, "pruner == 'random' and sample == 1")
    damage(folder)
    text = refused(capsys, results, "--runs", "pruner=random")
    assert message in text and folder.name in text


def test_networks_of_other_shapes_are_named_with_their_first_difference(results, capsys, tmp_path):
    weights = load_file(folder_of(results, "architecture == 'fc'") / "weights.safetensors")
    save_file(weights, tmp_path / "fc.safetensors")
    words = ["--runs", "pruner=random", f"--files={tmp_path / 'fc.safetensors'}"]
    text = refused(capsys, results, *words)
    assert f"{tmp_path / 'fc.safetensors'}, as weights of --architecture=lenet300100, does not fit the network" in text


def test_predictions_that_no_run_stored_are_left_out_with_a_word_or_refused(results, capsys):
    words = ["--runs", "pruner=random", "--parts", "outcomes", "predictions"]
    assert execute(results, "--experiment=compare", *words) == 0
    text = capsys.readouterr().err
    assert "predictions leave out all networks: only runs with --save_predictions store them" in text
    (folder,) = (results / "compare").iterdir()
    assert (folder / "final.csv").exists() and not (folder / "calibration.csv").exists()
    assert "there is nothing to compare" in refused(capsys, results, "--runs", "pruner=random", "--parts=predictions")


def test_architecture_and_data_are_those_of_the_runs(results):
    assert execute(results, *COMPARE, "--runs", "pruner=snip", "--architecture=lenet300100") == 0
    rows = read_summaries(results).rows
    (study,) = (row for _, row in rows[rows["experiment"] == "compare"].iterrows())
    assert (study["architecture"], study["data"], study["networks"]) == ("lenet300100", "digits", 2)


def test_another_set_of_runs_is_another_study(results):
    for filters in (
        ["pruner=random"],
        ["pruner=random,snip", "architecture=lenet300100"],
        ["sample=0,1", "pruner=random"],
    ):
        assert execute(results, *COMPARE, "--runs", *filters) == 0
    assert len(list((results / "compare").iterdir())) == 2


def stored_run(experiment="singleshot", pruner="snip", compression=10.0, kind="direct", settings="") -> StoredRun:
    row = pd.Series({"pruner": pruner, "pruning_type": kind, "target_compression": compression, "settings": settings})
    return StoredRun(Path(), "", {"experiment": experiment}, row)


def test_groups_say_what_tells_networks_apart_and_no_more():
    runs = [
        stored_run(), stored_run(compression=50.0), stored_run(kind="effective"),
        stored_run(pruner="dense", compression=1.0), stored_run("multishot", "magnitude"),
        stored_run("supermask", "gem-miner", 50.0, settings="--unflag=1"),
        stored_run("supermask", "gem-miner", 50.0, settings=float("nan")),
        stored_run(pruner="random", settings="--lr=0.1 --batch_size=5"),
    ]  # fmt: skip
    assert groups_of(runs) == [
        "snip 10%", "snip 2%", "snip 10% pruning_type=effective", "dense", "multishot magnitude 10%",
        "gem-miner 2% unflagged", "gem-miner 2%", "random 10%",
    ]  # fmt: skip


def test_names_are_different_even_of_equal_groups_and_samples():
    assert names_of(["a", "a", "b"], [0, 0, 0], ["k1", "k2", "k3"]) == ["a s0 k1", "a s0 k2", "b s0"]
