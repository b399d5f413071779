"""Every command of the README and of the pages is executed; long ones in a shortened form made from the same line."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import OWN_NETWORK
from settings import trains

import demo
import main
import visualization
from docs.tables import PAGES, ROOT
from Experiments.registry import EXPERIMENTS
from Models import build
from Pruners.registry import CRITERIA
from Utils.results import load_summaries

TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES if page.name != "extending.md"}
"""test_extending.py executes the commands of the page that extends the program."""

REPLACED = ("--data", "--path_to_data", "--iterations", "--epochs", "--evaluate_every", "--lr_drops", "--batch_size")
"""Flags whose values make a command long, or that name files which are not there."""

SHORTER = {
    "--levels": "2",
    "--workers": "1",
    "--threads": "1",
    "--k_vals": "0.5",
    "--cycles": "2",
    "--image_size": "32",
    "--prune_iterations": "2",
    "--branch_at": "2",
    "--images": "20",
    "--points": "3",
}
SHORT = ("--data=digits", "--batch_size=16")
SHORT_CAMPAIGN = ("--architecture=lenet300100", "--pruner=random,snip", "--com_exp=1", "--sample=0")
CONFIGS = "Experiments/configs"
SHORT_CONFIG = ("--sample=0", "--target_density=0.1")
SHORT_ANATOMY = ("--pruners=snip", "--sparsities=0.5", "--samples=1", "--controls=shuffle", "--control_sparsities=0.5")
SHORT_SEARCH = ("--data=digits", "--batch_size=256")
"""A search for a mask needs several epochs."""


def commands(text: str) -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [" ".join(line.split()) for block in blocks for line in block.replace("\\\n", " ").splitlines()]


COMMANDS = list(dict.fromkeys(line for text in TEXTS.values() for line in commands(text)))


def of(*beginnings: str) -> list[str]:
    return [line for line in COMMANDS if line.startswith(beginnings)]


MAIN = of("python main.py")
VISUALIZATION = of("python visualization.py")
DEMO = of("python demo.py")
MAKE = of("make ")
TORCHRUN = of("torchrun ")
MAINTENANCE = of("python -m Utils.")
ELSEWHERE = [*of("sbatch "), *of("python -m tests.equality"), *(line for line in MAIN if "--ray_address" in line)]
"""Executed by test_ray_pool.py and by hand: they need a cluster, or another commit."""


def flags_of(line: str, program: str) -> dict[str, list[str]]:
    """Values by flag."""
    words = shlex.split(line.partition(program)[2])
    values: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            flag, _, value = word.partition("=")
            values[flag] = [value] if value else []
        else:
            values[next(reversed(values))].append(word)
    return values


def shortened(line: str, folder: Path, program: str = "main.py") -> list[str]:
    """The arguments of a command, with less to do and with results in a folder."""
    flags = flags_of(line, program)
    if "--list" in flags or "--check" in flags:
        return [word for flag, values in flags.items() for word in (flag, *values)]
    experiment = EXPERIMENTS[flags.get("--experiment", ["singleshot"])[0]]
    has_training = flags.get("--train") != ["0"] and trains(experiment.name) and "--runs" not in flags
    has_steps = flags.get("--lr_schedule", ["step"]) == ["step"] and CONFIGS not in line
    flags = {flag: values for flag, values in flags.items() if flag not in REPLACED}
    flags |= {flag: [value] for flag, value in SHORTER.items() if flag in flags}
    if flags.get("--rewind", [""])[0].isdecimal():
        flags["--rewind"] = ["2"]
    if "--sample" in flags:
        flags["--sample"] = flags["--sample"][:1]
    steps = 60 if "--experiment" in flags or CONFIGS in line else 4
    length = (
        [f"--iterations={steps}", f"--evaluate_every={steps // 2}", *["--lr_drops"] * has_steps] if has_training else []
    )
    campaign = SHORT_CAMPAIGN if "--config" in flags else ()
    if CONFIGS in line:
        campaign = SHORT_CONFIG if "resnet" not in line else (*SHORT_CONFIG, "--image_size=8")
    data = SHORT_SEARCH if re.search("supermask|gem_miner", line) else SHORT
    if experiment.is_study and not has_training:
        data = ("--data=digits",)
    if "--runs" in flags:
        flags["--runs"] = ["experiment=singleshot"]
    elif experiment.name == "anatomy":
        campaign = SHORT_ANATOMY
    words = [word for flag, values in flags.items() for word in ("=".join([flag, *values[:1]]), *values[1:])]
    is_large = re.search("vgg|resnet|imagenet", str(flags.get("--architecture")))
    uses_examples = any(
        CRITERIA[criterion].needs_batches for criterion in flags.get("--pruner", []) if criterion in CRITERIA
    )
    examples = ["--prune_examples=16"] if is_large and uses_examples else []
    return [*words, *campaign, *data, *examples, *length, f"--out_path={folder / 'out'}"]


@pytest.fixture
def place(tmp_path, monkeypatch, offline):
    """A working directory with the files that commands name."""
    (text,) = re.findall(r"^```yaml\n(.*?)^```", TEXTS["campaigns.md"], re.DOTALL | re.MULTILINE)
    (tmp_path / "campaign.yml").write_text(text)
    shutil.copytree(ROOT / CONFIGS, tmp_path / CONFIGS)
    for line in MAIN:
        for name in re.findall(r"(\w+\.py):\w+", line):
            shutil.copy(OWN_NETWORK, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def slow_if_large(line: str) -> object:
    return pytest.param(
        line, marks=pytest.mark.slow if re.search("=vgg|/vgg|/resnet50|direct effective|union vanilla", line) else ()
    )


@pytest.mark.parametrize("line", [slow_if_large(line) for line in MAIN if "--ray_address" not in line])
def test_main(place, line, capsys):
    if "--launcher=ray" in line:
        pytest.importorskip("ray")
        line = f"{line} --dry_run"
    for name, *words in re.findall(r"--(weights|masks)_from=(RUN|FILE\S*)", line):
        assert main.main([*SHORT, "--iterations=1", "--pruner=dense", f"--out_path={place / 'other'}"]) == 0
        stored = next((place / "other").rglob(f"{name}.safetensors"))
        line = line.replace(words[0], str(stored if words[0].startswith("FILE") else stored.parent))
    if "--runs" in line:
        two = [*SHORT, "--iterations=1", "--lr_drops", "--sample", "0", "1", f"--out_path={place / 'out'}"]
        assert main.main(two) == 0
    for name in re.findall(r"=(\w+)\.pt\b", line) if "--files" in line else ():
        torch.save(build("lottery/resnet20", (3, 8, 8), 10).state_dict(), place / f"{name}.pt")
    assert main.main(shortened(line, place)) == 0
    if any(word in line for word in ("--list", "--dry_run", "--status", "--check")):
        assert capsys.readouterr().out
    else:
        rows = load_summaries(place / "out", status=None)
        assert len(rows) and set(rows["status"]) == {"complete"}


@pytest.mark.parametrize("line", [
    pytest.param(line, marks=() if "pruning_type" in line else pytest.mark.slow) for line in VISUALIZATION
])  # fmt: skip
def test_visualization(place, line, capsys):
    few = shutil.ignore_patterns("direct") if "pruning_type" in line else shutil.ignore_patterns("direct", "snip")
    shutil.copytree(ROOT / "Results" / "singleshot", place / "Results" / "singleshot", ignore=few)
    assert visualization.main(shlex.split(line.partition("visualization.py")[2])) == 0
    assert list((place / "Results" / "figures").glob("*.png")) and "accuracies" in capsys.readouterr().out


@pytest.mark.parametrize("line", DEMO)
def test_demo(line, capsys):
    """The flags of the tour; test_demo.py takes it."""
    assert demo.main([*shlex.split(line.partition("demo.py")[2]), "--help"]) == 0 and "Takes" in capsys.readouterr().out


@pytest.mark.parametrize("line", MAKE)
def test_make(line):
    """What `make` would do is told: continuous integration does it."""
    done = subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout, done.stderr


@pytest.mark.parametrize("line", MAINTENANCE)
def test_maintenance(place, line):
    part = Path("Results/singleshot/lenet300100/mnist/dense")
    shutil.copytree(ROOT / part, place / part)
    command, anywhere = [sys.executable, *shlex.split(line)[1:]], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=place, env=anywhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Results" in done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("line", TORCHRUN)
def test_torchrun(place, line):
    words = ["--nproc_per_node=2", str(ROOT / "main.py"), *shortened(line, place), "--image_size=32"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and len(load_summaries(place / "out")) == 1, done.stderr


def test_no_command_is_left_out():
    modules = of("python -m benchmarks.", "python -m tests.faults", "python -m tests.boundary.")
    executed = {*MAIN, *VISUALIZATION, *DEMO, *MAKE, *MAINTENANCE, *TORCHRUN, *ELSEWHERE, *modules}
    assert [line for line in COMMANDS if line not in executed] == []
    for line in modules:
        module = line.split()[2]
        assert (ROOT / f"{module.replace('.', '/')}.py").exists()
