"""The experiment `compare` as users start it: its tables against the runs, files, interruptions, figures, the page."""

import itertools
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import call, execute, kill_after
from safetensors.torch import load_file

import visualization
from Experiments.comparison.choices import PARTS
from Experiments.comparison.figure_kinds import FIGURE_KINDS
from Experiments.comparison.report.sections import SECTIONS, ShownTable
from Experiments.comparison.study import parts
from Layers import Masks
from Utils.results import load_summaries
from Utils.results.summaries import read_summaries
from Utils.results.supermask_scores import read_scores

NETWORK = ["--architecture=fc", "--image_size=28"]
"""A network without batch normalisation: the ends of a path are the networks themselves."""

COMPARE = ["--experiment=compare"]
ALL = [*COMPARE, "--images=40", "--nulls=1", "--points=3", "--parts", *PARTS]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two samples of several pruners and of dense networks, and a search for a mask."""
    folder = tmp_path_factory.mktemp("results")
    common = [*NETWORK, "--sample", "0", "1", "--save_predictions"]
    assert call(folder, *common, "--pruner", "dense", "snip", "random", "--target_sparsity", "0.8") == 0
    search = ["--experiment=supermask", "--batch_size=700", "--freeze_every=1", "--target_density=0.5"]
    assert call(folder, *common, *search) == 0
    return folder


@pytest.fixture(scope="module")
def study(results):
    """The folder of a study of all these runs, with all parts and the page."""
    assert execute(results, *ALL, "--runs", "data=digits", "--report") == 0
    (folder,) = (results / "compare").iterdir()
    return folder


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv")


def stored(results: Path) -> pd.DataFrame:
    rows = read_summaries(results).rows
    return rows[rows["experiment"] != "compare"].set_index("run")


def test_every_run_is_there_once_with_what_it_reached(results, study):
    own, runs = table(study, "networks"), stored(results)
    assert set(own["run"]) == set(runs.index) and own["network"].is_unique and len(own) == 8
    assert set(own["group"]) == {"dense", "snip 20%", "random 20%", "gem-miner 50%"}
    by_run = own.set_index("run")
    pd.testing.assert_series_equal(by_run["top1"], runs.loc[by_run.index, "top1"], check_names=False)
    assert (by_run["sample"] == runs.loc[by_run.index, "sample"]).all()
    assert load_summaries(results).query("experiment == 'compare'")["networks"].item() == 8


def test_densities_are_those_that_the_runs_stored(results, study):
    own = table(study, "layer_densities").merge(table(study, "networks")[["network", "run"]], on="network")
    for run, row in stored(results).iterrows():
        layers = table(Path(row["folder"]), "layers").set_index("layer")
        part = own[(own["run"] == run) & (own["layer"] != "overall")].set_index("layer")
        assert (part["kept"].to_numpy() == layers["kept_direct"].to_numpy()).all()
        assert (part["effective"].to_numpy() == layers["kept_effective"].to_numpy()).all()


def test_distances_without_alignment_are_those_of_the_stored_masks_and_weights(results, study):
    words = [*COMPARE, "--parts=distances", "--alignment=none", "--runs", "pruner=random"]
    assert execute(results, *words) == 0
    (folder,) = {*(results / "compare").iterdir()} - {study}
    distances = table(folder, "layer_distances").query("measure == 'sasd' and reduction == 'micro'")
    distances = distances.set_index("layer")
    runs = stored(results).query("pruner == 'random'").sort_values("sample")
    first, second = (load_file(Path(place) / "weights.safetensors") for place in runs["folder"])
    one, other = (np.sign(weights["fc1.weight"].numpy()) for weights in (first, second))
    # Of a random mask of 20%, all weights of the first layer are effective.
    assert distances.loc["fc1", "distance"] == pytest.approx((one != other).sum() / ((one != 0) | (other != 0)).sum())
    shutil.rmtree(folder)


def test_final_results_are_means_over_samples(results, study):
    final = table(study, "final").set_index(["group", "metric"])
    runs = stored(results).query("pruner == 'snip'")["top1"]
    assert final.loc[("snip 20%", "top1"), "mean"] == pytest.approx(runs.mean())
    assert final.loc[("snip 20%", "top1"), "sd"] == pytest.approx(runs.std())
    calibration = table(study, "calibration").merge(table(study, "networks")[["network", "top1"]], on="network")
    assert calibration["top1_x"].to_numpy() == pytest.approx(calibration["top1_y"].to_numpy(), abs=1e-12)


def test_ends_of_paths_are_the_networks_themselves(results, study):
    paths = table(study, "paths").query("alignment == 'none'")
    losses = table(study, "networks").merge(stored(results)[["test_loss"]], left_on="run", right_index=True)
    losses = losses.set_index("network")["test_loss"]
    for alpha, end in ((0, "first"), (1, "second")):
        part = paths[paths["alpha"] == alpha]
        assert part["test_loss"].to_numpy() == pytest.approx(losses[part[end]].to_numpy(), rel=1e-5)
    matched = table(study, "paths").query("alpha == 1").pivot(index=["first", "second"], columns="alignment")
    assert matched["test_loss"]["none"].to_numpy() == pytest.approx(
        matched["test_loss"]["matched"].to_numpy(), rel=1e-4
    )


def test_scores_of_a_search_are_those_that_its_mask_rounds(results, study):
    for _, row in stored(results).query("experiment == 'supermask'").iterrows():
        scores, masks = read_scores(row["folder"]), Masks.load(Path(row["folder"]) / "masks.safetensors")
        assert scores.keys() == masks.keys()
        for name, (score, free) in scores.items():
            assert score.min() >= 0 and score.max() <= 1
            np.testing.assert_array_equal(masks[name].numpy(), free & (score > 0.5))
    kept = table(study, "rounding_distances").groupby("network")["naive_kept"].sum()
    rows = table(study, "networks").set_index("run").join(stored(results)["kept_direct"]).set_index("network")
    assert (kept == rows.loc[kept.index, "kept_direct"]).all()


def test_a_study_does_not_compare_studies_and_is_found_again(results, study, capsys):
    before = {path: path.stat().st_mtime_ns for path in study.iterdir()}
    assert execute(results, *ALL, "--runs", "data=digits", "--report") == 0
    assert {path: path.stat().st_mtime_ns for path in study.iterdir()} == before
    assert "complete already" in capsys.readouterr().out


def test_files_of_one_network_are_the_same_and_a_run_is_its_own_weights(results, tmp_path):
    row = stored(results).query("pruner == 'snip' and sample == 0").iloc[0]
    weights = load_file(Path(row["folder"]) / "weights.safetensors")
    torch.save({"state_dict": weights}, tmp_path / "copy.pt")
    words = [*COMPARE, "--parts", "distances", "activations", "densities", f"--files=ours={tmp_path / 'copy.pt'}"]
    assert execute(tmp_path / "out", *words, "--runs", row["folder"], NETWORK[0]) == 0
    (folder,) = (tmp_path / "out" / "compare").iterdir()
    own = table(folder, "networks")
    assert own["network"].tolist() == ["snip 20% s0", "ours s0"] and pd.isna(own["run"][1])
    assert (table(folder, "network_distances")["distance"] == 0).all()
    similar = table(folder, "activation_similarity").query("first != second")
    assert similar["live_one_to_one"].to_numpy() == pytest.approx(1) and similar["cka"].to_numpy() == pytest.approx(1)
    densities = table(folder, "layer_densities").set_index(["network", "layer"])["effective"]
    assert (densities["snip 20% s0"] == densities["ours s0"]).all()


def test_files_alone_need_no_run(tmp_path):
    for seed in (0, 1):
        words = ["--pruner=random", "--target_sparsity=0.9", f"--sample={seed}"]
        assert call(tmp_path / "runs", *words, *NETWORK) == 0
    files = [f"mine={path}" for path in sorted((tmp_path / "runs").rglob("weights.safetensors"))]
    words = [*COMPARE, *NETWORK, "--data=digits", "--files", *files]
    assert execute(tmp_path / "out", *words) == 0
    (folder,) = (tmp_path / "out" / "compare").iterdir()
    assert table(folder, "networks")["network"].tolist() == ["mine s0", "mine s1"]
    assert not (folder / "final.csv").exists() and (folder / "patches.csv").exists()


@pytest.mark.parametrize("stop", [1, 4])
def test_an_interrupted_study_goes_on_after_its_last_step(results, study, tmp_path, monkeypatch, stop):
    words = [*ALL, "--runs", "data=digits", "--checkpoint_every=1"]
    calm, killed = (tmp_path / name for name in ("calm", "killed"))
    for folder in (calm, killed):
        shutil.copytree(results, folder, ignore=shutil.ignore_patterns("compare"))
    every = begun_steps(monkeypatch)
    assert execute(calm, *words) == 0
    kill_after(monkeypatch, stop, [*words, f"--out_path={killed}"])
    rest = begun_steps(monkeypatch)
    assert execute(killed, *words) == 0
    assert rest == every[stop : len(rest) + stop] and len(rest) > 5
    (first,), (second,) = ((folder / "compare").iterdir() for folder in (calm, killed))
    names = sorted(path.name for path in first.glob("*.csv"))
    assert names == sorted(path.name for path in second.glob("*.csv")) and len(names) > 20
    for name in set(names) - {"summary.csv"}:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def begun_steps(monkeypatch) -> list[str]:
    """The words of the steps that are begun from now on."""
    begun: list[str] = []

    def noted(own):
        for words, step in own:
            yield words, lambda step=step, words=words: (begun.append(words), step())[1]

    steps = {name: (lambda compared, make=make: noted(make(compared))) for name, make in ORIGINAL.items()}
    monkeypatch.setattr("Experiments.comparison.study.run.STEPS", steps)
    return begun


ORIGINAL = dict(parts.STEPS)


def test_every_kind_of_figure_is_drawn_once_for_each_study(results, study, capsys):
    assert execute(results, *COMPARE, "--parts=densities", "--runs", "pruner=snip,random") == 0
    (other,) = {*(results / "compare").iterdir()} - {study}
    assert visualization.main([f"--out_path={results}", "--experiment=compare"]) == 0
    files = {path.name for path in (results / "figures").glob("*.png")}
    shown = {kind for kind in FIGURE_KINDS for name in files if name.endswith(f"{study.name}_{kind}.png")}
    # A network without convolutions has no feature maps, kernels of several weights, or positions.
    assert set(FIGURE_KINDS) - shown == {"feature-maps", "common-kernels", "kernel-maps", "kernel-scores"} - shown
    assert {name for name in files if other.name in name} == {f"compare_fc_digits_{other.name}_group-densities.png"}
    shutil.rmtree(other)


class Page(HTMLParser):
    """The tags of a page, which must be closed in order, its links and its text."""

    VOID = {"meta", "img", "br", "link", "input"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_needs_nothing_else(study):
    text = (study / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == [] and page.tags.count("h1") == 1
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert not any(word in text for word in ("http:", "https:", "@import", "url(", "<link"))
    sections = [section for section in SECTIONS if f">{section.title}</a>" in text]
    assert sections == list(SECTIONS)
    shown = [item for section in SECTIONS for item in section.content if isinstance(item, ShownTable)]
    for item in shown:
        exists = (study / f"{item.name}.csv").exists()
        assert (f"<b>{item.name}.csv.</b>" in text) == exists, item.name
    figures = sum(link.startswith("data:") for link in page.links)
    assert figures == page.tags.count("img") >= len(FIGURE_KINDS) - 4
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    means = table(study, "final").set_index(["group", "metric"])
    assert f"{means.loc[('random 20%', 'top1'), 'mean']:.4g}" in page.text


def test_text_of_users_is_no_markup_on_the_page(results, tmp_path):
    row = stored(results).iloc[0]
    place = tmp_path / "weights.safetensors"
    shutil.copy(Path(row["folder"]) / place.name, place)
    files = [f"--files=<b>&x={place}", f"{place}"]
    words = [*COMPARE, "--parts=densities", "--report", *NETWORK, "--data=digits"]
    assert execute(tmp_path / "out", *words, *files) == 0
    text = next((tmp_path / "out").rglob("report.html")).read_text()
    assert "<b>&x" not in text and "&lt;b&gt;&amp;x" in text


def test_every_table_of_the_page_is_one_that_a_part_makes(study):
    names = {path.stem for path in study.glob("*.csv")}
    shown = {item.name for section in SECTIONS for item in section.content if isinstance(item, ShownTable)}
    assert shown - names <= {"exemplars", "claims"}
    kinds = [item.kind for section in SECTIONS for item in section.content if not isinstance(item, ShownTable)]
    assert sorted(kinds) == sorted(FIGURE_KINDS)
    assert all(len(item.caption) > 20 for section in SECTIONS for item in section.content)


def test_pairs_of_a_table_are_all_pairs(study):
    distances = table(study, "network_distances")
    pairs = {frozenset(pair) for pair in itertools.combinations(table(study, "networks")["network"], 2)}
    for _, part in distances.groupby(["measure", "reduction"]):
        assert {frozenset(pair) for pair in zip(part["first"], part["second"], strict=True)} == pairs
