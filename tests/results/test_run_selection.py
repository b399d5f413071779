"""Selection of stored runs by name, folder, pattern and filter."""

import pytest
from commands import call

from Utils.errors import UserError
from Utils.results.run_selection import runs_by_key, select_runs

WORDS = ["--architecture=lenet300100", "--pruner", "random", "mag", "--target_sparsity", "0.5", "0.9", "--train=0"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    assert call(folder, *[word for word in WORDS if word != "--train=0"], "--iterations=1", "--evaluate_every=1",
                "--lr_drops", "--sample", "0", "1") == 0  # fmt: skip
    return folder


def names(runs):
    return {(run.row["pruner"], run.row["target_sparsity"], run.row["sample"]) for run in runs}


ALL = {(pruner, target, sample) for pruner in ("random", "mag") for target in (0.5, 0.9) for sample in (0, 1)}


@pytest.mark.parametrize(("words", "expected"), [
    ([], ALL),
    (["pruner=mag"], {one for one in ALL if one[0] == "mag"}),
    (["pruner=mag", "random"], ALL),
    (["pruner=mag", "sample=1"], {one for one in ALL if one[0] == "mag" and one[2] == 1}),
    (["sample=0", "1", "target_sparsity=0.50"], {one for one in ALL if one[1] == 0.5}),
    (["train=1", "shuffle=false", "com_exp=none", "lr_drops="], ALL),
])  # fmt: skip
def test_filters(results, words, expected):
    assert names(select_runs(results, words)) == expected


def test_runs_by_folder_name_key_and_pattern(results):
    run = select_runs(results, ["pruner=mag", "sample=1", "target_sparsity=0.9"])[0]
    for word in (str(run.folder), run.folder.name, run.key):
        assert [one.folder for one in select_runs(results, [word])] == [run.folder]
    assert names(select_runs(results, ["singleshot/lenet300100/digits/mag/*/*"])) == {
        one for one in ALL if one[0] == "mag"
    }
    assert names(select_runs(results, [str(results / "singleshot" / "*" / "digits" / "random")])) == {
        one for one in ALL if one[0] == "random"
    }
    both = [run.key, str(run.folder)]
    assert len(select_runs(results, both)) == 1, "each run once"
    assert names(select_runs(results, [str(results), "sample=1"])) == {one for one in ALL if one[2] == 1}


def test_settings_and_keys_come_back(results):
    for run in select_runs(results, []):
        assert run.settings.key() == run.key == run.row["run"]
        assert run.settings.pruning.pruner == run.row["pruner"]
    (one, *_) = select_runs(results, [])
    assert [run.folder for run in runs_by_key(results, [one.key, "nothing"])] == [one.folder]


@pytest.mark.parametrize(("words", "message"), [
    (["prunr=mag"], "unknown setting of --runs 'prunr'; did you mean 'pruner'?"),
    (["pruner=magnitude"], "--runs: no finished run has pruner=magnitude; there are: mag, random"),
    (["pruner=mag", "pruner=magnitud"], "no finished run has pruner=magnitud; there are: mag, random"),
    (["pruner=mag", "pruner=random", "sample=7"], "no finished run has sample=7; there are: 0, 1"),
    (["gone"], "--runs: gone names no finished run"),
])  # fmt: skip
def test_mistakes(results, words, message):
    with pytest.raises(UserError) as error:
        select_runs(results, words)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_filters_that_apply_in_any_case(results):
    assert names(select_runs(results, [], {"pruner": "mag"})) == {one for one in ALL if one[0] == "mag"}
    with pytest.raises(UserError, match="no finished run has architecture=fc; there are: lenet300100"):
        select_runs(results, [], {"architecture": "fc"})


def test_no_folder_and_no_runs(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        select_runs(tmp_path / "none", [])
    with pytest.raises(UserError, match="holds no finished runs"):
        select_runs(tmp_path, [])
