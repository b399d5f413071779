"""Trial: the network of one run under way, and the steps that experiments take with it."""

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from Experiments.common.network import initial_model, load_data, new_weights, restore, state_of
from Experiments.common.pruner_names import depends_on_target
from Experiments.common.run_pruner import RunPruner
from Layers import Masks, prunable
from Layers.forms.weight_form import WeightForm
from Pruners.criteria.scores import Scores
from Utils import randomness
from Utils.config.groups import Pruning
from Utils.config.settings import Settings
from Utils.data.dataset import chance
from Utils.errors import UserError
from Utils.machine import describe_machine, pick_device, usual_threads
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.results.predictions import PREDICTIONS
from Utils.results.schema import TRAINING_COLUMNS
from Utils.sparsity.measure import Measurement, measure
from Utils.training.callbacks import Callback
from Utils.training.context import RunContext
from Utils.training.evaluation import History, predict, untrained
from Utils.training.loop import train
from Utils.training.task import TrainingTask


class Trial:
    """The data, the network and the pruner of a run, from its initial weights to its outcome."""

    def __init__(self, settings: Settings, context: RunContext, dense: Artifact | None = None) -> None:
        """Load the data, build the network on its device, and set the number of threads of this process.

        `dense` holds the trained weights that the pruner scores, if any.
        """
        if settings.machine.threads is not None:
            usual_threads()  # caches the default before it changes
            torch.set_num_threads(settings.machine.threads)
        self.settings, self.context, self.dense = settings, context, dense
        self.device = pick_device(settings.machine.device)
        self.data = load_data(settings.data_spec, self.device, context.memory.images)
        self.model = initial_model(settings.network_spec, self.data).to(self.device)
        self.pruner = RunPruner(settings.pruning, self.data, settings.run.sample, settings.recipe.batch_size)
        self.prune_seconds = 0.0
        """Time of all prunings, without a cache."""

    def find_masks(self) -> Masks:
        """Masks by the pruner, target and pruning type, equal in all processes of the run; they are not installed."""
        started = time.perf_counter()
        masks = self.context.agree(self._find_masks)
        self.prune_seconds += time.perf_counter() - started
        return masks

    def _find_masks(self) -> Masks:
        settings, masks = self.settings, Masks.of(self.model)
        if not self.pruner.is_dense:
            scores, saved_seconds = self.context.memory.scores.of(self.cache_key, self._scores)
            self.prune_seconds += saved_seconds
            masks = self.pruner.masks(self.model, scores, settings.target)
        if settings.pruning.shuffle:
            masks = masks.shuffle(randomness.generator(settings.run.sample, "shuffle"))
        return masks.to("cpu")

    def _scores(self) -> Scores:
        parent = None
        if self.dense is not None:
            parent = initial_model(self.settings.network_spec, self.data).to(self.device)
            load_weights(parent, self.dense.weights, self.settings.title())
        generator = randomness.generator(self.settings.run.sample, "random scores")
        return self.pruner.scores(self.model, self.settings.target, generator, parent)

    @property
    def cache_key(self) -> str:
        """Key of the scores in the memory of a worker."""
        key = f"{scores_key(self.settings)} {self.settings.run.path_to_data} {self.settings.machine.device}"
        # A dense run in another results folder can have different weights.
        return key if self.dense is None else f"{key} {self.dense.digest}"

    def new_weights(self) -> dict[str, Tensor]:
        """State of the same network, without masks, with initial weights that nothing else of its sample uses."""
        return new_weights(self.settings.network_spec, self.data)

    def reinitialize(self) -> None:
        """Replace the initial weights by new ones."""
        restore(self.model, self.new_weights())

    def measure(self) -> Measurement:
        """Measure the sparsity of the network; warns if it has collapsed."""
        measurement = measure(self.model, self.data.input_shape)
        if measurement.totals["collapsed"]:
            reason = "has collapsed: no path from input to output is left"
            warnings.warn(f"{self.settings.title()} {reason}", stacklevel=2)
        return measurement

    def train(self, *callbacks: Callback, form: WeightForm | None = None, **changes: Any) -> History:
        """Train the network by its recipe, by default with fixed masks; `changes` are other fields of the task."""
        settings = self.settings
        task = TrainingTask(
            self.model, self.data, settings.recipe, settings.run.sample, settings.title(), settings.machine
        )
        (history,) = train(replace(task, **changes), self.context, form, callbacks)
        return history

    def test(self) -> History:
        """Test the network without training it."""
        return untrained(self.model, self.data, self.settings.recipe, self.settings.machine)

    def outcome(
        self,
        measurement: Measurement,
        history: History,
        columns: Mapping[str, Any] | None = None,
        tables: Mapping[str, pd.DataFrame] | None = None,
        model: nn.Module | None = None,
    ) -> Outcome:
        """Collect the tables, masks, weights and, with `--save_predictions`, predictions of the run.

        `columns` are summary columns with values, `tables` further tables; `model` is a network in place of this one.
        """
        last, model = history.last, model or self.model
        summary = {
            "target_kept": self.pruner.target_kept(model, self.settings.target),
            **measurement.totals,
            "top1": last["top1"],
            "top5": last["top5"],
            "best_top1": history.best("top1"),
            "test_loss": last["test_loss"],
            "train_loss": last["train_loss"],
            "iterations": int(last["iteration"]),
            "prune_seconds": self.prune_seconds,
            "train_seconds": last["seconds"],
            "chance": chance(self.data.test),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            **(columns or {}),
        }
        return Outcome(
            summary, measurement.layers, pd.DataFrame(history.rows, columns=list(TRAINING_COLUMNS)),
            Masks.of(model).to("cpu"), pruned_weights(model), describe_machine(self.device),
            {"units": measurement.units, "inputs": measurement.inputs, **(tables or {})}, history.error,
            attachments={} if history.error else self._predictions(model),
        )  # fmt: skip

    def _predictions(self, model: nn.Module) -> dict[str, bytes]:
        """The file of predictions, if the run stores it."""
        settings = self.settings
        if not settings.run.save_predictions:
            return {}
        return {PREDICTIONS: predict(model, self.data, settings.recipe, settings.machine).to_bytes()}


def pruned_weights(model: nn.Module) -> dict[str, Tensor]:
    """State of a network without masks, pruned entries zero, for loading into an unmasked network."""
    state = state_of(model)
    for name, (weight, mask) in prunable(model).items():
        state[name] = weight.detach() * mask
    return {name: value.cpu().contiguous() for name, value in state.items()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], title: str) -> None:
    """Load the stored weights of the dense parent of `title`; raises `UserError` if they are of another network."""
    try:
        model.load_state_dict({**model.state_dict(), **weights})
    except RuntimeError as error:
        reason = f"the trained weights stored for {title} do not fit this network"
        raise UserError(f"{reason}; train them again with --pruner=dense --overwrite") from error


def scores_key(settings: Settings) -> str:
    """Key of the scores of a run: equal for runs that differ only in steps after scoring."""
    defaults, pruning = Pruning(), settings.pruning
    after_scoring = ("pruning_type", "effective_type", "keep_alive", "shuffle", "reinitialize")
    values = {name: getattr(defaults, name) for name in after_scoring}
    if not depends_on_target(pruning):
        values |= {"target_sparsity": defaults.target_sparsity, "com_exp": defaults.com_exp}
    return settings.with_values(**values).key()
