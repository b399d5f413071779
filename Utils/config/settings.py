"""Settings of a run: all groups of flags, and the identity that names the run."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from Utils.config.choices import DENSE
from Utils.config.fields import plain
from Utils.config.groups import Machine, Pruning, Run, Training
from Utils.config.resolved import DataSpec, NetworkSpec, Recipe
from Utils.config.target import Target


@dataclass(frozen=True)
class Settings:
    """All settings of one run."""

    run: Run = Run()
    pruning: Pruning = Pruning()
    training: Training = Training()
    machine: Machine = Machine()
    options: Any = None
    """Settings of the experiment alone, a dataclass in its file."""
    is_study: bool = False
    """Whether the run is not about one network: its folder is named by the experiment and the key alone."""

    @cached_property
    def recipe(self) -> Recipe:
        """How the network is trained, for a resolved run."""
        return Recipe.of(self.training)

    @property
    def data_spec(self) -> DataSpec:
        """The data that the run reads."""
        return DataSpec.of(self.run, self.training)

    @property
    def network_spec(self) -> NetworkSpec:
        """The network that the run starts with."""
        return NetworkSpec.of(self.run, self.pruning, self.training)

    @property
    def target(self) -> Target:
        """The pruning target."""
        return Target(self.pruning.target_sparsity, self.pruning.com_exp)

    def groups(self) -> dict[str, Any]:
        """The settings dataclasses by group name, the options of the experiment last."""
        groups = {"run": self.run, "pruning": self.pruning, "training": self.training, "machine": self.machine}
        return groups if self.options is None else groups | {"options": self.options}

    def with_values(self, **values: Any) -> "Settings":
        """A copy with some fields of any groups replaced; raises `TypeError` for an unknown field."""
        groups = {}
        for name, group in self.groups().items():
            changes = {key: values.pop(key) for key in list(values) if hasattr(group, key)}
            groups[name] = dataclasses.replace(group, **changes) if changes else group
        if values:
            raise TypeError(f"there are no settings {', '.join(values)}")
        return Settings(**groups, is_study=self.is_study)

    def values(self) -> dict[str, Any]:
        """The values of all fields of all groups, by field name."""
        return {name: value for group in self.groups().values() for name, value in vars(group).items()}

    def identity(self) -> dict[str, Any]:
        """The identity of the run: JSON-compatible values of the identity fields that differ from their defaults.

        Defaults are omitted, so that a new field orphans no earlier result.
        """
        fields = (item for group in self.groups().values() for item in dataclasses.fields(group))
        values = self.values()
        return {
            item.name: plain(values[item.name])
            for item in fields
            if item.metadata["identity"] and values[item.name] != item.default
        }

    def key(self) -> str:
        """The run key: ten hexadecimal digits, a hash of the identity."""
        return self._key

    @cached_property
    def _key(self) -> str:
        text = json.dumps(self.identity(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def title(self) -> str:
        """A short description of the run for progress bars and messages."""
        words = f"{self.run.architecture} {self.run.data} {self.pruning.pruner}"
        if self.is_study:
            words = f"{self.run.experiment} {words.removesuffix(f' {DENSE}')}"
        elif self.pruning.pruner != DENSE:
            is_power = self.pruning.com_exp is not None
            amount = f"10^{self.pruning.com_exp}x" if is_power else f"{self.pruning.target_sparsity}"
            words += f" {self.pruning.pruning_type} {amount}"
        return f"{words} sample {self.run.sample}"
