"""Command flags: reports that are printed instead of running anything, and a file of flags."""

from dataclasses import dataclass

from Utils.config.choices import LISTS
from Utils.config.fields import setting


@dataclass(frozen=True)
class Command:
    """Reports that run nothing, and a file of flags."""

    list: tuple[str, ...] | None = setting(
        None, "print available names by kind (default: all kinds)", choices=LISTS, sequence=True, identity=False
    )
    dry_run: bool = setting(
        False, "print what would run, with estimates of time and disk, and run nothing", kind=bool, identity=False
    )
    status: bool = setting(
        False, "print how many networks are done, running, failed and missing", kind=bool, identity=False
    )
    check: bool = setting(
        False, "print how a network can be pruned, and what would be refused; needs no data, runs nothing", kind=bool,
        identity=False,
    )  # fmt: skip
    config: str | None = setting(
        None,
        "a YAML file of flags and their values; typed flags replace those of the file",
        placeholder="FILE.yml",
        identity=False,
    )
