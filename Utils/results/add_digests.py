"""Maintenance command: adds digests to the runs of earlier versions, so that damage to their files is noticed.

    python -m Utils.results.add_digests Results

Only `run.json` changes. Runs that are damaged already are named and left as they are.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from Utils.errors import UserError
from Utils.files import is_folder, reading
from Utils.results.atomic_files import replace_file
from Utils.results.digests import RECORD, digest_of, read_record, sealed
from Utils.results.summaries import read_summaries, read_table


def main(arguments: Sequence[str]) -> int:
    """Execute a command line, which names results folders; returns the exit status: 0, or 2 if a run is damaged."""
    problems = []
    for results in arguments or ["Results"]:
        if not is_folder(results):
            problems.append(f"{results} is no folder")
            continue
        count, damaged = add_digests(results)
        problems += damaged
        sys.stdout.write(f"{results}: {count} runs have got digests\n")
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 2 if problems else 0


def add_digests(results: str | Path) -> tuple[int, list[str]]:
    """Add digests to all runs without; returns their number, and a line about each run that is damaged."""
    rows, damaged, _ = read_summaries(results)
    count = 0
    for folder in map(Path, rows["folder"]):
        try:
            count += _add_to(folder)
        except UserError as error:
            damaged.append(str(error))
    return count, damaged


def _add_to(folder: Path) -> bool:
    """Add digests to a run unless it has them; raises `UserError` if one of its files is damaged."""
    record = read_record(folder)
    if record.files is not None:
        return False
    attached = [folder / Path(name).name for name in record.values.get("attachments", ())]
    tables, tensors = list(folder.glob("*.csv")), list(folder.glob("*.safetensors"))
    for path in tables:
        read_table(folder, path.stem)
    digests = {}
    for path in sorted({*tables, *tensors, *attached}):
        with reading(path, "a file of a run"):
            digests[path.name] = digest_of(path, path.read_bytes())
    for path in tensors:
        _check_tensors(path)
    replace_file(folder / RECORD, sealed(record.values, digests))
    return True


def _check_tensors(path: Path) -> None:
    from safetensors import safe_open

    with reading(path, "a safetensors file"), safe_open(path, "numpy") as file:
        if not file.keys():
            raise ValueError("it holds nothing")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
