"""Random command lines of main.py: whatever is typed, the answer is a result or one line, and nothing is half-written.

    python -m tests.boundary.fuzz --lines=2000 --seed=1

The flags come from their own table, with valid values, nearly valid ones, and hostile ones: odd texts and numbers, and
files that are none. Each line must end within seconds with status 0, 1 (a run failed) or 2 (refused, in one line).
Afterwards every run in the results folder is whole. A line that does not is printed, to be typed again.
"""

import argparse
import contextlib
import io
import os
import random
import shlex
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field
from pathlib import Path

import torch

import main as program
from Experiments.multishot import REWINDS
from Experiments.planning.choices import valid_names
from Experiments.registry import EXPERIMENTS
from Models import build
from tests.settings import trains
from Utils.campaign.locks import RunLocks
from Utils.config.command import Command
from Utils.config.fields import flag_fields
from Utils.config.groups import GROUPS
from Utils.results import load_summaries

ROOT = Path(__file__).parents[2]
SECONDS = 180
"""Within which a line must end, on a busy machine too: those that train have few steps."""

NETWORKS = ("lenet300100", "lenet5", "fc", f"{ROOT}/tests/own/residual_network.py:for_any_image")
NUMBERS = ("1", "2", "3", "5", "0", "0.5", "0.9", "0.25", "8", "12", "100")
ODD_NUMBERS = (
    "-1", "-0", "00", "1e0", "1e-400", "1e400", "1e300", "-1e-5", "nan", "-inf", "9" * 25, "9" * 5000, "0x10", "1_000",
    "\u0663", "\uff11", f"0.{'9' * 30}", "9223372036854775808", "1/2", "1,2,3", ",", "1,,2", "5 ", ".",
)  # fmt: skip
ODD_TEXTS = (
    "", " ", "-", "--", "---", "=", "a=b", "x" * 300, "snip\n", "a\tb", "\udcff", "\u65e5\u672c", "%s", "{}", "[", "]",
    "'", '"', "..", "/", "/dev/null/x", "None", "True", "no", "*", "~", "-h x", "a:b", ":", "x:", ":x", "a/b/c", "é",
)  # fmt: skip
LONG = {"iterations", "epochs", "pre_iterations", "levels", "prune_iterations", "warmup", "threads", "cycles", "rewind"}
"""Flags whose large values are valid and take long; reports take any."""
SLOW = {"launcher", "ray_address", "workers", "compile", "gpus", "tensorboard"}
"""Flags that start other programs."""


def files(folder: Path) -> list[str]:
    """Paths of what a file flag may meet: whole files, damaged ones, and what is no file."""
    folder.mkdir()
    torch.save(build("lenet300100").state_dict(), folder / "whole.pt")
    torch.save({3: torch.ones(2)}, folder / "odd.pt")
    for name, content in {"deep.yml": b"[" * 100_000, "bytes.pt": bytes(range(256)), "empty.safetensors": b""}.items():
        (folder / name).write_bytes(content)
    (folder / "flags.yml").write_text("pruner: [random, mag]\n")
    (folder / "fails.py").write_text("import os\n\ndef make():\n    os._exit(0)\n")
    (folder / "a,b.pt").write_bytes((folder / "whole.pt").read_bytes())
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    return [*(str(path) for path in sorted(folder.iterdir())), str(folder), "/dev/zero", f"{folder}/fails.py:make"]


class Lines:
    """Random command lines, each determined by the seed and its number."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed, self.files = folder, seed, files(folder / "files")
        self.names = valid_names()
        self.common = [item for group in [*GROUPS.values(), Command] for item in flag_fields(group)]

    def line(self, number: int) -> list[str]:
        """The words of a line: half of the lines have no odd value, others few or many."""
        choice = random.Random(f"{self.seed} {number}")
        oddness = choice.choice([0, 0, 0.2, 0.6])
        experiment = choice.choice(list(EXPERIMENTS))
        options = EXPERIMENTS[experiment].Options
        own = flag_fields(options) if options is not None else []
        is_report = choice.random() < 0.4
        items = [item for item in self.common if is_report or item.name not in SLOW]
        items = choice.sample(items, choice.randint(0, 4)) + choice.sample(own, choice.randint(0, min(2, len(own))))
        flags = {item.name: self._values(item, choice, oddness, is_report) for item in items}
        short = {"iterations": ["12"], "evaluate_every": ["6"]}
        flags = {"data": ["digits"]} | (short if trains(experiment) else {}) | flags
        flags |= {"experiment": [experiment]} if "experiment" not in flags else {}
        if "epochs" in flags:
            flags.pop("iterations", None)
        if is_report:
            flags["dry_run" if choice.random() < 0.7 else "status"] = []
        ends = [f"--out_path={self.folder}/out"]
        if choice.random() < 0.1:
            return [f"--config={self._config(flags, choice, oddness)}", *ends]
        return [*(word for flag in flags.items() for word in _typed(*flag, choice, oddness)), *ends]

    def _values(self, item: Field, choice: random.Random, oddness: float, is_report: bool) -> list[str]:
        """Values of a flag, most of them valid if `oddness` is 0."""
        metadata = item.metadata
        if metadata["kind"] is bool and choice.random() >= oddness:
            return choice.choice([[], ["1"], ["0"]])
        count = choice.choice([1, 1, 1, 2, 3] if metadata["many"] or metadata["sequence"] else [1])
        count = choice.randint(0, 3) if choice.random() < oddness / 4 else count
        return [
            self._odd_value(item, choice, is_report) if choice.random() < oddness else self._value(item, choice)
            for _ in range(count)
        ]

    def _odd_value(self, item: Field, choice: random.Random, is_report: bool) -> str:
        valid = self._value(item, choice)
        near = [valid.upper(), valid[:-1], f"{valid} ", f"{valid}/{valid}", f"{valid},{valid}"]
        numbers = ODD_NUMBERS if is_report or item.name not in LONG else ()
        return choice.choice([choice.choice(near), choice.choice(ODD_TEXTS), choice.choice(numbers or near)])

    def _value(self, item: Field, choice: random.Random) -> str:
        metadata, choices = item.metadata, item.metadata["choices"]
        if item.name == "architecture":
            return choice.choice(NETWORKS)
        if choices is not None:
            return choice.choice(list(self.names[choices].valid if isinstance(choices, str) else choices))
        if metadata["kind"] is str:
            return choice.choice(self.files if item.name != "rewind" else REWINDS)
        is_valid = metadata["check"][0] if metadata["check"] is not None else bool
        numbers = NUMBERS[:4] if item.name in LONG else NUMBERS
        numbers = [number for number in numbers if metadata["kind"] is not int or number.isdecimal()]
        values = {number: metadata["kind"](number) for number in numbers}
        valid = [text for text, value in values.items() if is_valid((value,) if metadata["sequence"] else value)]
        return choice.choice(valid or numbers)

    def _config(self, flags: Mapping[str, Sequence[str]], choice: random.Random, oddness: float) -> Path:
        """A file of flags, which may be broken if `oddness` is not 0."""
        lines = [f"{name}: [{', '.join(values)}]" if values else f"{name}: 1" for name, values in flags.items()]
        text = "\n".join(lines)
        if choice.random() < oddness:
            text = choice.choice(["{", "- ", "? ", "&a ", "\0", '"', "[" * 5000]).join([text[:20], text[20:]])
        path = self.folder / "config.yml"
        path.write_bytes(text.encode(errors="surrogateescape"))
        return path


def _typed(name: str, values: Sequence[str], choice: random.Random, oddness: float) -> list[str]:
    """A flag as it may be typed; with an odd name now and then if `oddness` is not 0."""
    if choice.random() < oddness / 8:
        name = choice.choice([name[:-1], f"{name}x", name.upper(), ""])
    flag = f"--{name if choice.random() < 0.8 else name.replace('_', '-')}"
    return [f"{flag}={','.join(values)}"] if values and choice.random() < 0.7 else [flag, *values]


def faults(words: Sequence[str], results: Path) -> Iterator[str]:
    """Execute a line in this process; what is wrong with its answer, and with what it leaves."""
    started, said, errors = time.monotonic(), io.StringIO(), io.StringIO()
    status: object
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors), warnings.catch_warnings():
        try:
            status = program.main(words)
        except SystemExit as error:
            status = error.code
        except BaseException as error:
            yield f"{type(error).__name__}: {error}"
            return
    text = errors.getvalue()
    lines = [line for line in text.splitlines() if not line.startswith("warning: ")]
    if status not in (0, 1, 2):
        yield f"status {status}"
    if "Traceback" in text + said.getvalue():
        yield "a traceback"
    if status == 2 and (len(lines) != 1 or not lines[0].startswith("main.py: ") or len(lines[0]) > 12_000):
        yield f"status 2 with {len(lines)} lines: {text[-300:]}"
    if (took := time.monotonic() - started) > SECONDS:
        yield f"it took {took:.0f} s"
    yield from _half_written(results)


def _half_written(results: Path) -> Iterator[str]:
    """What is not whole in a results folder."""
    if not results.exists():
        return
    for path in results.rglob("*"):
        if path.name.endswith(".partial") or (path.name == "summary.csv" and not path.with_name("run.json").exists()):
            yield f"half-written: {path}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            load_summaries(results, status=None)
        except Exception as error:
            yield f"the results cannot be read: {error}"
    if RunLocks(results).owners():
        yield "a run is locked"


def fuzz(folder: Path, seed: int, numbers: Sequence[int]) -> Iterator[str]:
    """The faults of the lines of these numbers, each with its line."""
    lines = Lines(folder, seed)
    for number in numbers:
        words = lines.line(number)
        for fault in faults(words, folder / "out"):
            yield f"line {number}: {shlex.join(words)}\n  {fault}"


def main() -> None:
    """Print the faults of many lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first line")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    count = 0
    with tempfile.TemporaryDirectory() as place:
        for fault in fuzz(Path(place), given.seed, range(given.first, given.first + given.lines)):
            count += 1
            sys.stdout.write(f"{fault}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{given.lines} lines, {count} faults\n")
    raise SystemExit(count > 0)


if __name__ == "__main__":
    main()
