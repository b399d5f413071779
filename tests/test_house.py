"""Rules of the house: who imports whom, how large a file, function or package may be, and where torch stays out."""

import ast
import subprocess
import sys
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

_CORE = {"Layers", "Utils"}
_SETTINGS = _CORE | {"Utils.config"}
_RESULTS = _SETTINGS | {"Utils.results"}
_CONNECTIVITY = _CORE | {"Utils.config", "Utils.connectivity.ops"}
_TRAINING = _RESULTS | {"Layers.forms", "Utils.data", "Utils.distributed"}
_PRUNERS = _TRAINING | {
    "Utils.connectivity", "Utils.connectivity.ops", "Utils.connectivity.statistics", "Utils.sparsity", "Utils.training",
}  # fmt: skip
_EXPERIMENTS = _PRUNERS | {"Models", "Pruners", "Pruners.criteria", "Pruners.schedules"}

MAY_IMPORT = {
    "Layers": {"Utils"},
    "Layers.forms": {"Layers", "Utils"},
    "Models": {"Layers", "Utils"},
    "Utils": set(),
    "Utils.config": {"Utils"},
    "Utils.distributed": _CORE,
    "Utils.data.folders": {"Utils"},
    "Utils.data": _SETTINGS | {"Utils.data.folders", "Utils.distributed"},
    "Utils.connectivity.ops": _CORE,
    "Utils.connectivity": _CONNECTIVITY,
    "Utils.results": _SETTINGS,
    "Utils.connectivity.statistics": _CONNECTIVITY | {"Utils.connectivity"},
    "Utils.connectivity.compaction": _CONNECTIVITY | {"Utils.connectivity"},
    "Utils.sparsity": _RESULTS | {"Utils.connectivity", "Utils.connectivity.ops", "Utils.connectivity.statistics"},
    "Utils.training": _TRAINING,
    "Utils.campaign": _TRAINING | {"Utils.training"},
    "Utils.campaign.executors": _TRAINING | {"Utils.training", "Utils.campaign"},
    "Utils.figures": {"Utils", "Utils.config", "Utils.results"},
    "Utils.figures.theory": {"Utils", "Utils.config", "Utils.figures", "Utils.results"},
    "Utils.figures.comparison": {"Utils", "Utils.config", "Utils.figures", "Utils.results"},
    "Utils.figures.train_then_prune": {"Utils", "Utils.figures", "Utils.results"},
    "Pruners.criteria": _PRUNERS,
    "Pruners.schedules": _PRUNERS | {"Pruners.criteria"},
    "Pruners": _PRUNERS | {"Pruners.criteria", "Pruners.schedules"},
    "Experiments.common": _EXPERIMENTS,
    "Experiments": {
        "Utils",
        "Utils.config",
        "Utils.data",
        "Utils.figures",
        "Utils.results",
        "Pruners",
        "Pruners.schedules",
        "Experiments.common",
    },
    "Experiments.theory": {"Utils", "Utils.config", "Utils.results", "Pruners", "Experiments", "Experiments.common"},
    "Experiments.theory.runs": _EXPERIMENTS | {"Experiments.common"},
    "Experiments.anatomy": _EXPERIMENTS | {"Experiments", "Experiments.common", "Utils.figures"},
    "Experiments.comparison": _EXPERIMENTS | {"Experiments", "Experiments.common", "Utils.figures"},
    **dict.fromkeys(
        [f"Experiments.comparison.{part}" for part in ("distances", "activations", "structure", "outcomes")],
        _EXPERIMENTS | {"Experiments.common", "Experiments.comparison"},
    ),
    "Experiments.comparison.report": {
        "Utils",
        "Utils.config",
        "Utils.figures",
        "Utils.results",
        "Pruners",
        "Experiments.comparison",
    },
    "Experiments.comparison.study": _EXPERIMENTS
    | {"Experiments.common", "Experiments.comparison", "Experiments.comparison.report", "Utils.figures"}
    | {f"Experiments.comparison.{part}" for part in ("distances", "activations", "structure", "outcomes")},
    "Experiments.runs": _EXPERIMENTS | {"Experiments.common"},
    "Experiments.checking": _EXPERIMENTS | {"Experiments.common"},
    "Experiments.planning": _EXPERIMENTS
    | {
        "Experiments",
        "Experiments.checking",
        "Experiments.common",
        "Utils.campaign",
        "Utils.campaign.executors",
        "Utils.figures",
        "Utils.sparsity",
    },
}
"""Packages that each package may import, itself apart. Imports point down, between packages too."""

FILE_LINES, FUNCTION_LINES, PACKAGE_LINES, TOP_FILES = 300, 40, 1600, 8

PRODUCTION = sorted(
    path for room in ("Layers", "Models", "Pruners", "Experiments", "Utils") for path in (ROOT / room).rglob("*.py")
)
COMMANDS = [ROOT / "main.py", ROOT / "demo.py", ROOT / "visualization.py"]
OTHERS = sorted(path for room in ("tests", "benchmarks", "docs") for path in (ROOT / room).rglob("*.py"))

TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in [*PRODUCTION, *COMMANDS, *OTHERS]}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def package_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parent.parts)


MODULES = {module_of(path): path for path in PRODUCTION}


def imports(tree: ast.AST) -> set[Path]:
    """The files of the house that a file imports, inside functions and for types too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            assert not any(alias.name == "*" for alias in node.names), "star import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    candidates = ((name, name.rpartition(".")[0]) for name in names)
    return {
        MODULES[name if name in MODULES else parent] for name, parent in candidates if {name, parent} & MODULES.keys()
    }


IMPORTS = {path: imports(TREES[path]) for path in PRODUCTION}


def test_every_package_has_its_rule():
    assert {package_of(path) for path in PRODUCTION} == MAY_IMPORT.keys()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_down_only(package):
    for path in PRODUCTION:
        if package_of(path) == package:
            for used in IMPORTS[path] - {path}:
                assert package_of(used) in MAY_IMPORT[package] | {package}, (
                    f"{module_of(path)} imports {module_of(used)}"
                )


def test_no_circle_between_files_or_packages():
    files = {path: used - {path} for path, used in IMPORTS.items()}
    assert len(list(TopologicalSorter(files).static_order())) == len(PRODUCTION)
    packages: dict[str, set[str]] = defaultdict(set)
    for path, used in IMPORTS.items():
        packages[package_of(path)] |= {package_of(other) for other in used} - {package_of(path)}
    assert len(list(TopologicalSorter(packages).static_order())) == len(MAY_IMPORT)


def test_only_planning_and_the_commands_use_campaigns():
    users = {
        package_of(path) or path.name
        for path, used in IMPORTS.items()
        if any(package_of(o).startswith("Utils.campaign") for o in used)
    }
    assert users <= {"Utils.campaign", "Utils.campaign.executors", "Experiments.planning"}


def test_processes_that_train_one_network_appear_in_few_places():
    """Experiments get what all processes agree on from the context of their run."""
    users = {
        module_of(path)
        for path, used in IMPORTS.items()
        if "Utils.distributed.process_group" in map(module_of, used) and package_of(path) != "Utils.distributed"
    }
    assert users == {
        "Utils.training.loop", "Utils.training.evaluation", "Utils.training.checkpoints",
        "Utils.campaign.executors.process_group", "Utils.data.dataset", "Experiments.planning.make_executor",
    }  # fmt: skip


@pytest.mark.parametrize(
    "module", ["Layers", "Models", "Pruners", "Experiments", "Utils.results", "Utils.campaign.campaign"]
)
def test_a_room_can_be_imported_first(module):
    """In a process of its own: each finds what it needs, whatever was imported before."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", [*PRODUCTION, *COMMANDS], ids=module_of)
def test_files_have_a_contract_and_stay_quiet(path):
    tree = TREES[path]
    first = (ast.get_docstring(tree) or "").partition("\n")[0]
    assert first and "?" not in first, "the first line is a noun phrase and a contract"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
    if path in COMMANDS:
        return
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not calls & {"print", "quit", "exit", "input"}


@pytest.mark.parametrize("path", TREES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES, node.name


def test_packages_are_small():
    lines: dict[Path, int] = defaultdict(int)
    for path in TREES:
        lines[path.parent] += len(path.read_text(encoding="utf-8").splitlines())
    del lines[ROOT]
    assert {package: count for package, count in lines.items() if count > PACKAGE_LINES} == {}
    assert len(list((ROOT / "Utils").glob("*.py"))) <= TOP_FILES


def test_test_files_have_names_of_their_own():
    """Pytest imports a test file by its name alone."""
    names = [path.name for path in OTHERS if path.name.startswith("test_")]
    assert sorted(set(names)) == sorted(names)


WITHOUT_TORCH = [
    ["visualization", "--out_path=nowhere"], ["visualization", "--help"], ["main", "--pruner=snp"], ["main", "--help"],
    ["main", "--architecture=x"], ["main", "--data=x"], ["main", "--experiment=x"], ["main", "--lr=x"],
    ["main", "--architecture=imagenet/resnet19"], ["main", "--list"], ["main", "--list=pruners"], ["main", "--list=x"],
    ["main", "--list", "architectures", "data", "experiments", "recipes", "figures", "aliases"], ["demo", "--help"],
    ["demo", "--fast"], ["visualization", "--out_path=Results", "--plot_type=compressions"],
]  # fmt: skip


def test_answers_that_need_no_torch_do_not_load_it():
    """All in one process, in which torch and torchvision cannot be imported."""
    code = (
        "import contextlib, sys\n"
        "sys.modules['torch'] = sys.modules['torchvision'] = None\n"
        "import main, demo, visualization\n"
        f"for program, *words in {WITHOUT_TORCH!r}:\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        sys.modules[program].main(words)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
