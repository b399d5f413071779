"""Command flags: what is printed instead of running anything."""

from dataclasses import dataclass

from Utils.config.choices import LISTS
from Utils.config.fields import setting


@dataclass(frozen=True)
class Command:
    """What is done instead of running anything."""

    list: tuple[str, ...] | None = setting(
        None, "print what there is (default: all of it)", choices=LISTS, sequence=True
    )
    dry_run: bool = setting(False, "print what would run, how long and how much that takes, and run nothing", kind=bool)
    status: bool = setting(False, "print how many networks are done, running, failed and missing", kind=bool)
    config: str | None = setting(
        None, "a YAML file of flags and their values; those that are typed win", placeholder="FILE.yml"
    )
