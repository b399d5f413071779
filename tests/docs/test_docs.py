"""README and pages: links, names, flags and generated tables are true, and every command and every function works."""

import csv
import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT

from docs import tables
from Experiments.registry import EXPERIMENTS
from Models.registry import ARCHITECTURES
from Pruners import registry
from Utils.config import flag_aliases
from Utils.config.choices import LISTS
from Utils.config.command import Command
from Utils.config.groups import GROUPS
from Utils.config.parser import flag_fields
from Utils.data.registry import DATASETS
from Utils.figures.registry import FIGURES
from Utils.figures.selection import Plot
from Utils.results.folders import run_folders

README = ROOT / "README.md"
TEXTS = {page: page.read_text(encoding="utf-8") for page in tables.PAGES}
EVERYTHING = "\n".join(TEXTS.values())


def page_id(page: Path) -> str:
    return page.name


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", TEXTS, ids=page_id)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!http)([^)]+)\)", TEXTS[page]):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_page_is_linked_from_the_front_door():
    assert len(TEXTS[README].splitlines()) <= 250
    linked = {(ROOT / link).resolve() for link in re.findall(r"\]\((docs/\w+\.md)", TEXTS[README])}
    assert linked == {page for page in tables.PAGES if page != README}


@pytest.mark.parametrize("page", TEXTS, ids=page_id)
def test_generated_tables_are_up_to_date(page):
    assert tables.filled(TEXTS[page]) == TEXTS[page], "make tables brings them up to date"


STUDIES = ("supermasks", "anatomy", "longer", "convolutional", "correlations", "claims", "thesis")


def test_every_table_stands_once():
    names = re.findall(r"<!-- table: ([a-z]+) -->", EVERYTHING)
    assert sorted(names) == sorted({*LISTS, "quotas", "combinations", "schedules", "results", *STUDIES})


@pytest.mark.parametrize("entries", [
    ARCHITECTURES, registry.CRITERIA, registry.QUOTAS, registry.SCHEDULES, DATASETS, EXPERIMENTS, FIGURES,
], ids=lambda entries: next(iter(entries)))  # fmt: skip
def test_every_name_is_mentioned(entries):
    assert [name for name in entries if f"`{name}`" not in EVERYTHING] == []


def known_flags() -> set[str]:
    options = [entry.Options for entry in EXPERIMENTS.values() if entry.Options is not None]
    flags = {item.name for group in (*GROUPS.values(), *options, Command, Plot) for item in flag_fields(group)}
    return flags | flag_aliases.FLAGS.keys() | flag_aliases.SWITCHES.keys() | flag_aliases.GONE.keys()


@pytest.mark.parametrize("page", TEXTS, ids=page_id)
def test_flags_exist(page):
    # The first column of a table can have what users of the original programs typed.
    text = re.sub(r"^\|[^|]*\|", "|", TEXTS[page], flags=re.MULTILINE)
    others = {"nproc_per_node", "nodes", "networks", "kills", "lines", "seed", "help"}  # of torchrun, sbatch and tests
    if page.name == "extending.md":
        others |= {"bits", "limit", "samples"}  # of its own experiments
    if page.name == "deviations.md":
        return  # it names flags of the original programs
    assert set(re.findall(r"(?<![\w-])--([a-z_0-9]+)", text)) - others - {"flag"} <= known_flags()


def test_every_experiment_option_is_described():
    options = {item.name for entry in EXPERIMENTS.values() if entry.Options for item in flag_fields(entry.Options)}
    assert {name for name in options if f"--{name}" not in EVERYTHING} == set()


def test_targets_of_make_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)", EVERYTHING)) <= set(targets)


@pytest.mark.parametrize(("page", "code"), [
    pytest.param(page, code, marks=() if page == README else pytest.mark.slow)
    for page in TEXTS if page.name != "extending.md"
    for code in re.findall(r"^```python\n(.*?)^```", TEXTS[page], re.DOTALL | re.MULTILINE)
    if not code.startswith("# Pruners/")
], ids=lambda value: value.name if isinstance(value, Path) else "")  # fmt: skip
def test_examples_in_python_work(page, code, tmp_path, monkeypatch):
    (tmp_path / "Results").symlink_to(ROOT / "Results")
    monkeypatch.chdir(tmp_path)
    exec(code, {})


def test_the_line_of_the_readme_averages_over_samples(capsys, monkeypatch):
    """Computed again from the files, without the index and its columns."""
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(
        r"^```python\n(from Utils.results import load_summaries\n.*?)^```", TEXTS[README], re.DOTALL | re.M
    )
    *setting, line = code.strip().splitlines()
    namespace: dict = {}
    exec("\n".join([*setting, f"means = {line.removeprefix('print(').removesuffix(')')}"]), namespace)
    groups: dict[tuple, list[float]] = {}
    for folder in run_folders(ROOT / "Results"):
        with (ROOT / "Results" / folder / "summary.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        settings = re.sub(r"(^| )--sample=\d+", "", row["settings"])
        key = (row["experiment"], row["pruner"], row["pruning_type"], float(row["target_sparsity"]), settings)
        if row["status"] == "complete" and row["top1"]:
            groups.setdefault(key, []).append(float(row["top1"]))
    means = namespace["means"].to_dict()
    assert means.keys() == groups.keys() and max(map(len, groups.values())) > 1
    assert all(means[key] == pytest.approx(sum(values) / len(values)) for key, values in groups.items())


def test_the_pruner_of_the_readme_is_the_one_of_the_page():
    """test_extending.py executes the page's, with everything around it."""
    (code,) = re.findall(r"^```python\n(# Pruners/.*?)^```", TEXTS[README], re.DOTALL | re.MULTILINE)
    page = TEXTS[ROOT / "docs" / "extending.md"]
    line = re.search(r'`("steepest": Criterion\(.*\))`', TEXTS[README])
    assert code in page and line and re.sub(r"\s|,?\)$", "", line[1]) in re.sub(r"\s", "", page)


def commands(text: str) -> list[list[str]]:
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def test_every_command_is_of_a_kind_that_a_test_executes():
    for page, text in TEXTS.items():
        for words in commands(text):
            assert " ".join(words).startswith((
                "make ", "python main.py", "python visualization.py", "python demo.py", "python -m benchmarks.",
                "python -m tests.", "python -m Utils.", "torchrun ", "sbatch ",
            )), f"{page.name}: {shlex.join(words)}"  # fmt: skip
