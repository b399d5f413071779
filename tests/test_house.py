"""The rules of the house: who imports whom, what stays free of torch, and a README that is true."""

import ast
import re
import subprocess
import sys
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

import pytest
from conftest import make_batches

import main
from docs import readme
from Experiments.registry import EXPERIMENTS
from Layers import prunable
from Models import build
from Models.registry import ARCHITECTURES
from Pruners import registry
from Utils.config.choices import LISTS
from Utils.config.recipes import lines
from Utils.config.settings import Training
from Utils.connectivity.effective import check_scores
from Utils.data.augmentation import AUGMENTATIONS
from Utils.data.registry import DATASETS
from Utils.data.streaming import VARIATIONS
from Utils.figures.registry import FIGURES

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "Layers": set(),
    "Utils": {"Layers"},
    "Models": {"Layers"},
    "Pruners": {"Layers", "Utils"},
    "Experiments": {"Layers", "Utils", "Models", "Pruners"},
}
FORBIDDEN = {
    "Utils/config/parser.py": {"Models", "Pruners", "Experiments"},
    "Utils/campaign/campaign.py": {"Models", "Pruners", "Experiments"},
}
SOURCES = sorted(path for folder in MAY_IMPORT for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert not any(alias.name == "*" for alias in node.names), f"{path}: star import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_only(path):
    own = path.relative_to(ROOT).parts[0]
    used = {name.partition(".")[0] for name in imports(path)} & MAY_IMPORT.keys()
    assert used <= MAY_IMPORT[own] | {own}


@pytest.mark.parametrize("module", [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES])
def test_every_file_can_be_imported_first(module):
    """So there is no circle: whichever file comes first finds all that it needs."""
    code = f"import {module.removesuffix('.__init__')}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_say_what_they_answer_and_stay_quiet(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a file opens with its question"
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not calls & {"print", "quit", "exit", "input"}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and node.col_offset == 0:
            assert ast.get_docstring(node), f"{node.name} has no docstring"


WITHOUT_TORCH = [
    ["visualization", "--out_path=nowhere"], ["visualization", "--help"], ["main", "--pruner=snp"], ["main", "--help"],
    ["main", "--architecture=x"], ["main", "--data=x"], ["main", "--experiment=x"], ["main", "--lr=x"],
    ["main", "--architecture=imagenet/resnet19"], ["main", "--list"], ["main", "--list=pruners"], ["main", "--list=x"],
    ["main", "--list", "architectures", "data", "experiments", "recipes", "figures", "aliases"], ["demo", "--help"],
    ["demo", "--fast"],
]  # fmt: skip


@pytest.mark.parametrize("words", WITHOUT_TORCH, ids=" ".join)
def test_answers_that_need_no_torch_do_not_load_it(words):
    program, *arguments = words
    code = (
        f"import sys, {program}\n"
        "try:\n"
        f"    {program}.main({arguments!r})\n"
        "except SystemExit:\n"
        "    pass\n"
        "sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_results_draw_without_torch(tmp_path):
    code = (
        "import sys, visualization\n"
        "status = visualization.main(['--out_path=Results', '--plot_type=compressions'])\n"
        "sys.exit(status or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_registry_line_leads_somewhere():
    entries = [*ARCHITECTURES.values(), *registry.CRITERIA.values(), *registry.QUOTAS.values(), *DATASETS.values()]
    entries += FIGURES.values()
    for entry in entries:
        module, name = entry.target.split(":")
        assert getattr(import_module(module), name).__doc__
    for entry in EXPERIMENTS.values():
        module = import_module(entry.module)
        assert callable(module.run) and callable(module.trained_run)
    for architecture in ARCHITECTURES.values():
        assert architecture.data is None or architecture.data in DATASETS
    for line in lines():
        assert all(any(fnmatch(name, pattern) for name in ARCHITECTURES) for pattern in line["architecture"].split())
        assert all(any(fnmatch(name, pattern) for name in DATASETS) for pattern in line["data"].split())
    assert registry.ALIASES.keys().isdisjoint({*registry.CRITERIA})


def test_choices_without_torch_are_those_of_the_code():
    choices = {name: item.metadata["choices"] for name, item in Training.__dataclass_fields__.items()}
    assert set(choices["augmentation"]) == {*AUGMENTATIONS, *VARIATIONS}
    assert {entry.augmentation for entry in DATASETS.values()} <= {*AUGMENTATIONS, *VARIATIONS}


def test_the_readme_is_true():
    text = (ROOT / "README.md").read_text()
    for name in (*ARCHITECTURES, *registry.CRITERIA, *registry.QUOTAS, *DATASETS, *EXPERIMENTS):
        assert f"`{name}`" in text, f"README does not mention {name}"
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / link).exists(), f"README points to {link}"
    from Utils.config import flag_aliases
    from Utils.config.command import Command
    from Utils.config.parser import flag_fields
    from Utils.config.settings import GROUPS
    from Utils.figures.selection import Plot

    own = [entry.options for entry in EXPERIMENTS.values() if entry.options is not None]
    flags = {item.name for group in (*GROUPS.values(), *own, Command, Plot) for item in flag_fields(group)}
    flags |= flag_aliases.FLAGS.keys() | flag_aliases.SWITCHES.keys() | flag_aliases.GONE.keys()
    # The first column of a table can have what users of the original programs typed.
    own_words = re.sub(r"^\|[^|]*\|", "|", text, flags=re.MULTILINE)
    others = {"nproc_per_node", "nodes", "networks", "kills"}  # of torchrun, sbatch and tests/faults.py
    typed = set(re.findall(r"--([a-z_0-9]+)", own_words)) - {"help", "flag"} - others
    assert typed <= flags, f"README types unknown flags: {typed - flags}"
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"make ([a-z]+)", text)) <= set(targets)


def test_tables_of_the_readme_are_those_of_the_registries():
    text = (ROOT / "README.md").read_text()
    assert readme.filled(text) == text, "make readme brings them up to date"
    places = set(re.findall(r"<!-- table: ([a-z]+) -->", text))
    assert places == {*LISTS, "quotas", "combinations", "schedules"}, "every list has its table"


def test_the_functions_of_the_readme_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    namespace: dict = {}
    used = [block for block in blocks if "make_pruner" in block]
    for block in used:
        exec(block, namespace)
    assert len(used) == 2 and namespace["torch"].load("pruned.pt")["fc.weight"].eq(0).any()


def test_every_list_names_its_registry(capsys):
    for name, entries in {
        "pruners": (*registry.CRITERIA, *registry.QUOTAS), "architectures": (*ARCHITECTURES, "resnet18", "vgg16_bn"),
        "data": DATASETS, "experiments": EXPERIMENTS, "figures": FIGURES, "recipes": ("lenet5 on cifar10",),
        "aliases": ("--dataset", "--data"),
    }.items():  # fmt: skip
        assert main.main([f"--list={name}"]) == 0
        printed = capsys.readouterr().out
        assert all(entry in printed for entry in entries) and max(map(len, printed.splitlines())) <= 120
    assert main.main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("synflow", "igq", "imagefolder", "dead-units", "lenet300100 on mnist"))


def test_the_function_that_adds_a_pruner_in_the_readme_works():
    (code,) = re.findall(r"```python\n(# Pruners/.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 12
    namespace: dict = {}
    exec(code, namespace)
    model = build("lenet300100")
    scores = namespace["steepest"](model, make_batches((1, 28, 28)), None)
    check_scores(prunable(model), scores)
    assert "Pruners.steepest:steepest" in (ROOT / "README.md").read_text()
