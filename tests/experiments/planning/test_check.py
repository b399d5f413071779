"""`--check`: what it says about networks is what the program does with them, and it needs no data."""

import re
import textwrap
from pathlib import Path

import pytest
import torch
from commands import execute
from conftest import OWN_NETWORK, rows_of

import main
from Experiments.common.network import build_network
from Layers import prunable
from Models.registry import ARCHITECTURES
from Pruners import make_pruner
from Pruners.allocation import allocate
from Utils.connectivity.effective import effective_masks
from Utils.connectivity.statistics.structural_rank import structural_rank
from Utils.data import dataset

SMALL = [name for name, entry in ARCHITECTURES.items() if (entry.prunable or 0) < 300_000]


@pytest.fixture(autouse=True)
def no_data(monkeypatch, tmp_path):
    """Nothing is read, and nothing is written into the folder of the command."""

    def fail(*arguments):
        raise AssertionError("--check read data")

    monkeypatch.setattr(dataset, "_source", fail)
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.glob("Results*")) and not list(tmp_path.glob("Data*"))


def report(capsys, *words: object) -> str:
    assert main.main(["--check", *map(str, words)]) == 0
    printed = capsys.readouterr()
    assert not printed.err.replace("\r", "").strip() or "checking" in printed.err
    return printed.out


def refusal(capsys, *words: object) -> str:
    """The line of a command that is refused."""
    assert main.main(["--check", *map(str, words)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "Traceback" not in printed.err
    return printed.err.removeprefix("main.py: ").strip()


def numbers(pattern: str, text: str) -> list[float]:
    """The numbers of the first match."""
    match = re.search(pattern, text)
    assert match, f"{pattern} in {text}"
    return [float(group.replace(",", "")) for group in match.groups()]


@pytest.fixture
def own(tmp_path) -> Path:
    """A file of networks of a user."""
    path = tmp_path / "nets.py"
    path.write_text(
        textwrap.dedent("""
        from torch import nn

        class Branching(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = nn.Linear(64, 20), nn.Linear(20, 10)

            def forward(self, x):
                x = x.flatten(1)
                x = x * 2 if x.sum() > 1e9 else x
                return self.b(self.a(x).relu())

        def branching():
            return Branching()

        def padded(classes=10):
            # Half of the second kernel sees padding alone.
            layers = nn.Conv2d(1, 2, 8), nn.Conv2d(2, 3, (3, 1), padding=(1, 0)), nn.Flatten(), nn.Linear(3, classes)
            return nn.Sequential(*layers)

        def normalised(input_shape=(1, 8, 8)):
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 10))

        def single():
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

        def few():
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))

        def broken():
            return 1 / 0
        """)
    )
    return path


@pytest.mark.parametrize("name", SMALL)
def test_small_architectures(capsys, name):
    """Sizes of the registry, each mask in the table, and the largest compression N / L."""
    text, entry = report(capsys, f"--architecture={name}"), ARCHITECTURES[name]
    assert numbers(r"([\d,]+) prunable entries", text) == [entry.prunable]
    assert "traced by torch.fx: yes" in text and f"(those of {entry.data}, its own data set; no data was read)" in text
    table = re.findall(r"^(\S+weight) +(?:Conv2d|Linear) +(\S+) +([\d,]+) +(\d+)$", text, re.MULTILINE)
    assert sum(int(size.replace(",", "")) for _, _, size, _ in table) == entry.prunable
    (ratio,) = numbers(r"without an empty layer: ([\d,.]+)", text)
    assert ratio == pytest.approx((entry.prunable or 0) / len(table), abs=0.06)
    assert numbers(r"exact ([\d.e-]+), graph", text) == [0] and numbers(r"disjoint paths\): (\d+)", text) == [10]


def test_the_curve_is_that_of_runs(capsys, tmp_path, monkeypatch):
    """Columns and the point of disconnection, against runs with these random scores."""
    text = report(capsys, "--architecture=fc", "--data=digits")
    values = re.search(r"^effective, random/erk(.*)$", text, re.MULTILINE)
    (ratio, count) = numbers(r"random/erk: disconnected from compression ([\d.]+) on \(([\d,]+) weights", text)
    assert ratio == pytest.approx(119_400 / count, rel=1e-3)
    monkeypatch.undo()
    words = ["--architecture=fc", "--data=digits", "--pruner=random/erk", "--train=0"]
    assert execute(tmp_path / "out", *words, "--com_exp=0,1,2,3") == 0
    rows = rows_of(tmp_path / "out").sort_values("target_compression")
    expected = ["none left" if collapsed else f"{ratio:.4g}" for collapsed, ratio in
                zip(rows["collapsed"], rows["effective_compression"], strict=True)]  # fmt: skip
    assert values and re.split(" {2,}", values[1].strip())[:4] == expected
    for kept, is_collapsed in ((count, True), (count + 1, False)):
        sparsity = 1 - (kept - 0.5) / 119_400
        assert execute(tmp_path / f"{kept}", *words, f"--target_sparsity={sparsity:.9f}") == 0
        (row,) = rows_of(tmp_path / f"{kept}").to_dict("records")
        assert (row["kept_direct"], row["collapsed"]) == (kept, is_collapsed)


def test_ineffective_weights_of_the_unpruned_network(capsys, own):
    text = report(capsys, f"--architecture={own}:padded", "--image_size=8")
    assert text.startswith(
        f"{own}:padded: 1x8x8 images, 10 classes "
        "(those of digits, assumed without --data, resized by --image_size; no data was read)\n"
    )
    assert re.search(r"^1.weight +Conv2d +3x2x3x1 +18 +12$", text, re.MULTILINE)
    assert numbers(r"exact ([\d.]+), graph ([\d.]+)", text) == [pytest.approx(12 / 176), 0]
    (least,) = numbers(r"needs a --target_sparsity of at least ([\d.]+)", text)
    assert 12 / 176 <= least < 12 / 176 + 1e-8
    assert "narrowest hidden layer: 0, 2 units" in text and "paths): 2" in text


def test_the_structural_rank_and_sizes_of_a_user_s_network(capsys):
    text = report(capsys, f"--architecture={OWN_NETWORK}:residual", "--data=cifar10")
    assert "traced by torch.fx: yes" in text and "3x32x32 images, 10 classes" in text
    assert "narrowest hidden layer: stem, 16 units" in text
    assert "2 more): --prune_batchnorm masks them" in text and "bias of Conv2d (stem): --prune_bias masks" in text


def test_a_network_that_cannot_be_traced(capsys, own, tmp_path, monkeypatch):
    """It builds, so the status is 0; what the report says of main.py and of the library holds."""
    words = f"--architecture={own}:branching", "--image_size=8"
    text = report(capsys, *words)
    assert "traced by torch.fx: NO, Branching cannot be traced by torch.fx: TraceError" in text
    assert "main.py refuses it" in text and "effective sparsity of" not in text and "disconnected" not in text
    assert "--prune_unit=unit: Branching cannot be traced" in text and "pruner fisher: fails: RuntimeError" in text
    assert re.search(r"^a.weight +Linear +20x64 +1,280 +unknown$", text, re.MULTILINE)
    monkeypatch.undo()
    assert execute(tmp_path / "out", *words, "--data=digits", "--pruner=random", "--train=0") == 2
    assert "Branching cannot be traced by torch.fx" in capsys.readouterr().err
    from Models import build

    model = build(f"{own}:branching", (1, 8, 8))
    assert allocate(model, make_pruner("random").score(model), 0.9, (1, 8, 8), "direct").kept == 148


REFUSED = [
    ("normalised", ["synflow"]), ("single", ["uniform_plus", "--prune_unit=unit"]),
    ("branching", ["fisher", "--dense_classifier", "--prune_unit=unit"]),
]  # fmt: skip


@pytest.mark.parametrize(("factory", "names"), REFUSED)
def test_what_is_refused(capsys, own, factory, names):
    text = report(capsys, f"--architecture={own}:{factory}", "--image_size=8").partition("would be refused")[2]
    for name in names:
        assert name in text
    for name in ("snip", "grasp", "taylor"):
        assert f"pruner {name}:" not in text
    assert "--prune_residual has no effect" in text and "--batchnorm" not in text
    assert ("synflow" in text) == (factory == "normalised")


def test_refusals_are_those_of_the_program(capsys, tmp_path, monkeypatch):
    """On networks of the registry: each refused flag or pruner is refused in a run, and no other is."""
    text = report(capsys, "--architecture=fc").partition("would be refused")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    monkeypatch.undo()
    tried = (
        "--batchnorm=batch", "--pretrained", "--prune_batchnorm", "--prune_residual", "--prune_bias",
        "--dense_classifier", "--prune_unit=unit", "--pruner=random/uniform_plus", "--pruner=synflow",
        "--pruner=fisher", "--pruner=random/structured",
    )  # fmt: skip
    base = ("--architecture=fc", "--data=digits", "--train=0", "--target_sparsity=0.5")
    for word in tried:
        others = () if word.startswith("--pruner=") else ("--pruner=random",)
        is_refused = execute(tmp_path / "out", *base, *others, word) != 0
        name = word.removeprefix("--pruner=random/").removeprefix("--pruner=").partition("=")[0]
        assert any(name in line for line in lines) == is_refused, word


def test_grey_images_are_repeated_for_a_network_of_three_channels(capsys):
    assert "3x28x28 images, 10 classes" in report(capsys, f"--architecture={OWN_NETWORK}:residual", "--data=mnist")


def test_flags_of_the_network(capsys):
    text = report(capsys, "--architecture=lenet5", "--prune_bias", "--dense_classifier", "--data=cifar100")
    assert "3x32x32 images, 100 classes (those of cifar100 (--data); no data was read)" in text
    assert re.search(r"^conv1.bias +Conv2d +6 +6 ", text, re.MULTILINE)
    assert "entries, weight and bias of Linear (fc3): --dense_classifier" in text
    assert "--dense_classifier has no effect" not in text and "--prune_bias" not in text.partition("refused")[2]


def test_several_networks_are_several_blocks(capsys):
    text = report(capsys, "--architecture", "fc", "gem-miner/fc", "--image_size=8")
    assert text.count("traced by torch.fx") == 2 and text.count("1x8x8 images") == 2
    assert "\ngem-miner/fc: " in text and "parameters without masks" not in text.partition("gem-miner/fc:")[2]


def test_the_network_itself_stays_the_same(own, monkeypatch):
    """Trying flags and criteria changes neither masks nor weights, nor the random numbers of a program."""
    from Experiments.planning import check

    built = []

    def remember(*arguments):
        built.append((model := build_network(*arguments), {k: v.clone() for k, v in model.state_dict().items()}))
        return model

    monkeypatch.setattr(check, "build_network", remember)
    state = torch.get_rng_state()
    assert main.main(["--check", "--architecture=lenet5"]) == 0
    ((model, before),) = built
    assert model.state_dict().keys() == before.keys() and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert structural_rank(model, (3, 32, 32)) == 10
    assert all(bool(mask.all()) for mask in effective_masks(model, (3, 32, 32)).values()) and prunable(model)


@pytest.mark.parametrize(("words", "message"), [
    ("--pruner=snip", "--check runs nothing, so --pruner has no effect; leave it out (it takes --architecture, --data"),
    ("--train=0", "--check runs nothing, so --train has no effect"),
    ("--sample=1", "--check runs nothing, so --sample has no effect"),
    ("--out_path=x", "--check runs nothing, so --out_path has no effect"),
    ("--dry_run", "--dry_run and --check exclude each other; give one of them"),
    ("--status --dry_run", "--dry_run and --status and --check exclude each other; give one of them"),
    ("--list", "--list and --check exclude each other; give one of them"),
    ("--architecture=lenet", "unknown architecture 'lenet'; did you mean 'lenet5'?"),
    ("--architecture=nets.py", "does not name the function that makes the network; write nets.py:FACTORY"),
    ("--architecture=nowhere.py:net", "there is no file nowhere.py"),
    ("--architecture=nets.py:nett", "nett"),
    ("--architecture=nets.py:broken", "nets.py:broken failed: ZeroDivisionError: division by zero"),
    ("--architecture=nets.py:few --image_size=8", "gives (2, 5) for 2 images, not (2, 10)"),
    ("--architecture=nets.py:single --image_size=9", "does not run on an input of 1x9x9"),
    ("--architecture=imagenet/swin_t", "qkv.weight is read past its layer"),
    ("--architecture=fc --batchnorm=batch", "--batchnorm has no effect on fc, which has no batch normalisation"),
    ("--architecture=fc --prune_batchnorm", "--prune_batchnorm has no effect on fc"),
    ("--data=imagefolder", "--check reads no images, so it knows no classes of imagefolder"),
    ("--architecture=imagenet/resnet18 --data=cifar", "did you mean 'cifar10'?"),
    ("--check=2", "--check must be 0 or 1, not '2'"),
])  # fmt: skip
def test_mistakes(capsys, own, words, message):
    assert message in refusal(capsys, *words.split())
