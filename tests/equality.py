"""Equality of results between two commits: same runs, same keys, tables, masks, weights and figures.

    python -m tests.equality COMMIT

Checks COMMIT out beside the working tree, gives both the same commands on the embedded digits, and compares all that
they keep: each file of each run (seconds, versions and places aside), and each pixel of the figures of those runs and
of the committed results. Prints what differs and exits with status 1 if anything does. Takes about five minutes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageSequence

ROOT = Path(__file__).parents[1]

SHORT = "--data=digits --iterations=40 --evaluate_every=20 --lr_drops=30 --checkpoint_every=0"
WHILE_TRAINING = f"{SHORT} --pruner=magnitude --target_sparsity=0.9 --prune_every=5"
COMMANDS = (
    f"{SHORT} --pruner dense snip synflow random/igq --target_sparsity=0.95 --pruning_type=effective --workers=1",
    f"{SHORT} --pruner magnitude/erk lamp --pruning_type direct effective --com_exp=1.5 --workers=2",
    f"{SHORT} --architecture=lenet5 --pruner grasp fisher --target_sparsity=0.9 --prune_examples=40 --workers=2",
    f"{SHORT} --architecture=conv --pruner=taylor/per_unit --pruning_type=effective --shuffle --prune_bias",
    "--data=digits --iterations=3 --lr_drops --architecture=lottery/resnet20 --pruner=force/uniform_plus "
    "--prune_iterations=3 --prune_examples=32 --batch_size=16 --pruning_type=effective --keep_alive --prune_residual",
    "--data=digits --iterations=3 --lr_drops --architecture=tinyimagenet/vgg11-bn --image_size=32 --batch_size=16 "
    "--pruner=3sp --prune_unit=unit --target_sparsity=0.5 --prune_examples=32 --augmentation=crop-flip",
    f"{SHORT} --experiment=multishot --pruner=magnitude --levels=2 --target_sparsity=0.9 --reinitialize",
    f"{WHILE_TRAINING} --experiment=gradual --ramp=full-cycle",
    f"{SHORT} --experiment=dynamic --pruner=random/erk --exchange_every=5 --optimizer=adam --lr=0.001",
    f"{SHORT} --experiment=train-then-prune --architecture=fc --k_vals 0.5 0.9",
    f"{WHILE_TRAINING} --experiment=union-mask --arm union vanilla --cycles=3 --workers=2",
)
"""Twenty runs and the dense ones that some of them need: all experiments, both pruning types, one worker and two."""

VOLATILE = ("versions", "commit", "machine", "seconds", "finished")
"""What `run.json` says of the program and the machine."""


def main() -> int:
    """Run both commits; returns 1 if anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("commit", help="the commit to compare the working tree with")
    commit = parser.parse_args().commit
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", folder / "old", commit], cwd=ROOT, check=True)
        try:
            kept = {tree: results(root, folder / f"{tree}-kept") for tree, root in trees(folder).items()}
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", folder / "old"], cwd=ROOT, check=True)
        differences = list(compare(kept["old"], kept["new"]))
        runs = len(list(kept["new"].rglob("run.json")))
    sys.stdout.write(("\n".join(differences) or f"all equal: {runs} runs") + "\n")
    return 1 if differences else 0


def trees(folder: Path) -> dict[str, Path]:
    """The two checkouts."""
    return {"old": folder / "old", "new": ROOT}


def results(tree: Path, folder: Path) -> Path:
    """All that one checkout makes: runs, their figures, and figures of the committed results."""
    for command in COMMANDS:
        call(tree, "main.py", *command.split(), f"--out_path={folder / 'runs'}")
    shutil.copytree(ROOT / "Results", folder / "committed", ignore=shutil.ignore_patterns("figures", "demo", ".*"))
    for part in ("runs", "committed"):
        call(tree, "visualization.py", f"--out_path={folder / part}")
    return folder


def call(tree: Path, program: str, *arguments: str) -> None:
    """Call a program of a checkout; what it prints is shown only if it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, program, *arguments]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{tree}: {' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def compare(old: Path, new: Path) -> Iterator[str]:
    """One line for each file that only one folder has, or whose content differs."""
    files = {tree: {path.relative_to(tree) for path in tree.rglob("*.*") if path.is_file()} for tree in (old, new)}
    for tree, paths in files.items():
        files[tree] = {path for path in paths if not any(part.startswith(".") for part in path.parts)}
    yield from (f"only before: {path}" for path in sorted(files[old] - files[new]))
    yield from (f"only now: {path}" for path in sorted(files[new] - files[old]))
    for path in sorted(files[old] & files[new]):
        if not is_same(old / path, new / path):
            yield f"differs: {path}"


def is_same(old: Path, new: Path) -> bool:
    """Whether two files say the same: tables but for seconds, records but for the machine, images pixel by pixel."""
    if old.suffix == ".csv":
        return table(old).equals(table(new))
    if old.suffix == ".json":
        return record(old) == record(new)
    if old.suffix in (".png", ".gif"):
        return frames(old) == frames(new)
    return old.read_bytes() == new.read_bytes()


def table(path: Path) -> pd.DataFrame:
    """A table as text, without its columns of seconds."""
    rows = pd.read_csv(path, dtype=str)
    return rows[[column for column in rows if "seconds" not in column]]


def record(path: Path) -> dict:
    """What `run.json` says of a run, not of the program, the machine and the folder."""
    content = json.loads(path.read_bytes())
    # A setting that is new, and left out, changes nothing.
    content["settings"] = {name: value for name, value in content["settings"].items() if value is not None}
    content["settings"].pop("out_path")
    return {name: value for name, value in content.items() if name not in VOLATILE}


def frames(path: Path) -> list[bytes]:
    """The pixels of each frame of an image."""
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGBA")).tobytes() for frame in ImageSequence.Iterator(image)]


if __name__ == "__main__":
    sys.exit(main())
