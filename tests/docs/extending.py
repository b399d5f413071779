"""The page about extending: its sections, and a copy of the sources with what a section adds."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import ROOT

SOURCES = ("Layers", "Models", "Pruners", "Experiments", "Utils")
PROGRAMS = ("main.py", "visualization.py")
QUICK = ("--data=digits", "--iterations=20", "--lr_drops")
"""What makes a command of the page short."""


@dataclass
class Section:
    """What a section of the page says."""

    files: dict[str, str] = field(default_factory=dict)
    additions: list[tuple[str, str, str]] = field(default_factory=list)
    """File, place in it, and lines."""
    commands: list[str] = field(default_factory=list)

    def definitions(self, path: str) -> dict[str, Any]:
        """What the code of a file defines."""
        namespace: dict[str, Any] = {"__name__": "example"}
        exec(self.files[path], namespace)
        return namespace


def read_page() -> dict[str, Section]:
    """The sections with code, by their titles."""
    sections: dict[str, Section] = {}
    for part in re.split(r"^## ", (ROOT / "docs" / "extending.md").read_text(), flags=re.M)[1:]:
        section = sections.setdefault(part.partition("\n")[0], Section())
        for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", part, re.M | re.S):
            if language == "bash":
                section.commands += text.replace("\\\n", " ").splitlines()
                continue
            title, _, code = text.partition("\n")
            target = re.fullmatch(r"# (?:in (\S+), (.+)|(\S+\.py))", title)
            assert target, f"a fence of the page starts with {title}"
            if target[3]:
                section.files[target[3]] = code
            else:
                section.additions.append((target[1], target[2], code))
    return sections


PAGE = read_page()


def extend(section: Section, folder: Path) -> None:
    """A copy of the sources with the files and the lines of a section."""
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in PROGRAMS:
        shutil.copy(ROOT / name, folder)
    for path, code in section.files.items():
        assert not (folder / path).exists(), f"{path} is no new file"
        (folder / path).write_text(code)
    for path, place, code in section.additions:
        text = (folder / path).read_text()
        (folder / path).write_text(add(text, place, code))


def add(text: str, place: str, code: str) -> str:
    """Lines below the last import, at the end, or below the line that opens a dictionary or a tuple."""
    if place == "the end":
        return f"{text}\n\n{code}"
    pattern = r"^from \S+ import [^(\n]+\n" if place == "imports" else rf"^{place}(?:: dict\[.*\])? = [{{(]\n"
    *_, found = re.finditer(pattern, text, re.M)
    return text[: found.end()] + code + text[found.end() :]


def execute(section: Section, folder: Path, *further: str) -> Path:
    """Carry out the section's commands, with further words for those that train; returns the folder of results."""
    results = folder / "results"
    for command in section.commands:
        python, program, *words = shlex.split(command.replace("FOLDER", str(folder)))
        assert python == "python" and program in PROGRAMS
        words += [*(further if program == "main.py" else ()), f"--out_path={results}"]
        done = subprocess.run(
            [sys.executable, program, *words], cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return results
