"""What does a network reach that is pruned once, before it is trained?

    python main.py --pruner=snip --target_sparsity=0.99 --pruning_type=effective --data=mnist

Score -> allocate -> measure -> train. Criteria that need trained weights score those of a dense run of the same sample
and settings; the pruned network then starts from the initial weights all the same. Sanity checks permute the masks
(`--shuffle`), turn the order round (`--invert`) or train from other initial weights (`--reinitialize`).

About 5 minutes for LeNet-300-100 on MNIST (96,000 iterations) on one core of an Intel Xeon; 3 s on digits. One sample
of each network; `--sample 0 1 2` makes three.
"""

import time
import warnings
from collections.abc import Mapping
from hashlib import sha256

import pandas as pd
from safetensors.torch import save
from torch import Tensor, nn

from Experiments.network import initial_model, load_data, new_weights
from Experiments.trained import trained_run
from Layers import Masks, prunable
from Pruners import make_pruner, parts
from Pruners.allocation import allocate
from Pruners.keep_alive import keep_alive
from Pruners.scores import Scores
from Utils import randomness
from Utils.data import Data, chance
from Utils.distributed import agree
from Utils.errors import UserError
from Utils.machine import describe_machine, pick_device
from Utils.results import TRAINING_COLUMNS, Outcome
from Utils.settings import DENSE, Pruning, Settings
from Utils.sparsity import measure
from Utils.training import History, train, untrained

__all__ = ["run", "trained_run"]


_KEPT_ENTRIES = 1 << 26
"""Scores that are kept for further runs: 512 MiB."""


def run(settings: Settings, trained: Mapping[str, Tensor] | None = None, show_progress: bool = True) -> Outcome:
    """Prune and train one network; `settings` are resolved, `trained` the weights of `trained_run`."""
    device = pick_device(settings.machine.device)
    data = load_data(settings, device)
    model = initial_model(settings, data).to(device)
    started, _SCORED.saved = time.perf_counter(), 0.0
    masks = agree(lambda: prune(model, data, settings, trained).to("cpu"))
    prune_seconds = time.perf_counter() - started + _SCORED.saved
    # A dense network is meant to keep what it starts with.
    target_kept = masks.kept if settings.pruning.pruner == DENSE else settings.target.kept(masks.total)
    if settings.pruning.reinitialize:
        model.load_state_dict({**model.state_dict(), **new_weights(settings, data)})
    masks.install(model)
    measured = measure(model, data.input_shape)
    if measured.totals["collapsed"]:
        warnings.warn(f"{settings.title()} has collapsed: no path from input to output is left", stacklevel=2)
    history = _train(model, data, settings, bool(measured.totals["collapsed"]), show_progress)
    last = history.last
    summary = {
        "target_kept": target_kept,
        **measured.totals,
        "top1": last["top1"],
        "top5": last["top5"],
        "best_top1": history.best("top1"),
        "test_loss": last["test_loss"],
        "train_loss": last["train_loss"],
        "iterations": int(last["iteration"]),
        "prune_seconds": prune_seconds,
        "train_seconds": last["seconds"],
        "chance": chance(data.test),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    return Outcome(
        summary, measured.layers, pd.DataFrame(history.rows, columns=list(TRAINING_COLUMNS)), Masks.of(model),
        pruned_weights(model), describe_machine(device), {"units": measured.units, "inputs": measured.inputs},
        history.error,
    )  # fmt: skip


def prune(model: nn.Module, data: Data, settings: Settings, trained: Mapping[str, Tensor] | None) -> Masks:
    """The masks that a run's pruner, target and pruning type give; the model stays as it is."""
    pruning, sample = settings.pruning, settings.run.sample
    masks = Masks.of(model)
    if pruning.pruner != DENSE:
        request = (settings.target, data.input_shape, pruning.pruning_type, pruning.effective_type)
        scores = _SCORED.of(model, data, settings, trained)
        if pruning.keep_alive:
            scores = keep_alive(model, scores, *request)
        masks = allocate(model, scores, *request)
    return masks.shuffle(randomness.generator(sample, "shuffle")) if pruning.shuffle else masks


def score(model: nn.Module, data: Data, settings: Settings, trained: Mapping[str, Tensor] | None) -> Scores:
    """The scores that a run's pruner gives."""
    pruning, sample = settings.pruning, settings.run.sample
    scored = None
    if trained is not None:
        scored = initial_model(settings, data).to(next(model.parameters()).device)
        load_weights(scored, trained, settings)
    batches = data.prune_examples(sample, pruning.prune_examples or 1, settings.training.batch_size or 1)
    pruner = make_pruner(
        pruning.pruner, pruning.prune_iterations, pruning.schedule, pruning.invert, pruning.prune_train_mode
    )
    generator = randomness.generator(sample, "random scores")
    return pruner.score(model, batches, settings.target, generator, scored)


class _KnownScores:
    """Scores of runs of this session, which serve others that differ only in what comes after scoring."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[Scores, float]] = {}
        self.saved = 0.0
        """Seconds that the last run would have taken longer without."""

    def of(self, model: nn.Module, data: Data, settings: Settings, trained: Mapping[str, Tensor] | None) -> Scores:
        """The scores of a run, made now or known."""
        key = self._key(settings, trained)
        if key in self.known:
            scores, self.saved = self.known[key]
            return scores
        started = time.perf_counter()
        scores = score(model, data, settings, trained)
        self.known[key] = scores, time.perf_counter() - started
        size = sum(values.numel() for values in scores.values())
        while len(self.known) > max(1, _KEPT_ENTRIES // size):
            del self.known[next(iter(self.known))]
        return scores

    @staticmethod
    def _key(settings: Settings, trained: Mapping[str, Tensor] | None) -> str:
        usual, pruning = Pruning(), settings.pruning
        later = ("pruning_type", "effective_type", "keep_alive", "shuffle", "reinitialize")
        values = {name: getattr(usual, name) for name in later}
        if all((pruning.prune_iterations or criterion.iterations) == 1 for criterion in parts(pruning.pruner)):
            values |= {"target_sparsity": usual.target_sparsity, "com_exp": usual.com_exp}
        key = f"{settings.with_values(**values).key()} {settings.run.path_to_data} {settings.machine.device}"
        # The dense run of another folder of results can have other weights.
        return key if trained is None else f"{key} {sha256(save(dict(trained))).hexdigest()}"


_SCORED = _KnownScores()


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], settings: Settings) -> None:
    """Give a model the kept weights of another run; raises `UserError` if they are of another network."""
    try:
        model.load_state_dict({**model.state_dict(), **weights})
    except RuntimeError as error:
        reason = f"the trained weights kept for {settings.title()} are not those of this network"
        raise UserError(f"{reason}; make them again with --pruner=dense --overwrite") from error


def _train(model: nn.Module, data: Data, settings: Settings, collapsed: bool, show_progress: bool) -> History:
    training = settings.training
    if training.train and not collapsed:
        return train(model, data, training, settings.run.sample, settings.title(), show_progress, settings.machine)
    return untrained(model, data, training, settings.machine)


def pruned_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state of a network without its masks, pruned entries zero: what anyone can load into a plain network."""
    state = {name: value for name, value in model.state_dict().items() if not name.endswith("_mask")}
    for name, (weight, mask) in prunable(model).items():
        state[name] = weight.detach() * mask
    return {name: value.cpu().contiguous() for name, value in state.items()}
