"""Masks of a run: scores of its pruner, and their allocation to its target."""

import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from Experiments.common.network import initial_model
from Layers import Masks, prunable
from Pruners import make_pruner
from Pruners.allocation import allocate
from Pruners.criteria.scores import Scores
from Pruners.keep_alive import keep_alive
from Pruners.pruner import Pruner
from Pruners.registry import parts
from Pruners.units import allocate_units, groups_of, open_units, score_units
from Utils import randomness
from Utils.config.choices import DENSE
from Utils.config.settings import Pruning, Settings
from Utils.config.target import Target
from Utils.data.dataset import Batches, Data
from Utils.distributed.process_group import agree
from Utils.errors import UserError
from Utils.results.artifacts import Artifact

_CACHED_SCORES = 1 << 26
"""Number of scores that the cache holds: 512 MiB."""


def find_masks(model: nn.Module, data: Data, settings: Settings, dense: Artifact | None) -> Masks:
    """Masks of a run by its pruner, target and pruning type; the model is not changed."""
    pruning, sample = settings.pruning, settings.run.sample
    masks = Masks.of(model)
    if pruning.pruner != DENSE:
        scores = SCORE_CACHE.of(model, data, settings, dense)
        masks = allocate_masks(model, scores, settings.target, data, settings)
    return masks.shuffle(randomness.generator(sample, "shuffle")) if pruning.shuffle else masks


def find_masks_timed(model: nn.Module, data: Data, settings: Settings, dense: Artifact | None) -> tuple[Masks, float]:
    """Masks as in `find_masks`, equal in all processes of a run, and the seconds that they take without a cache."""
    started, SCORE_CACHE.saved = time.perf_counter(), 0.0
    masks = agree(lambda: find_masks(model, data, settings, dense).to("cpu"))
    return masks, time.perf_counter() - started + SCORE_CACHE.saved


def allocate_masks(model: nn.Module, scores: Scores, target: Target, data: Data, settings: Settings) -> Masks:
    """Masks that reach a target by given scores, with the pruning type and unit of a run's settings."""
    pruning = settings.pruning
    request = (target, data.input_shape, pruning.pruning_type, pruning.effective_type)
    if pruning.prune_unit == "unit":
        return allocate_units(model, scores, *request)
    if pruning.keep_alive:
        scores = keep_alive(model, scores, *request)
    return allocate(model, scores, *request)


def target_kept(model: nn.Module, settings: Settings, target: Target | None = None) -> int:
    """Number of weights, or of units if the target counts units, that a target keeps; in a dense run, all weights."""
    pruning, target = settings.pruning, target or settings.target
    if pruning.pruner == DENSE:
        return Masks.of(model).kept
    if pruning.prune_unit == "unit" and pruning.pruning_type == "direct":
        return target.kept(sum(len(prunable(model)[name][0]) for name in groups_of(model)))
    return target.kept(Masks.of(model).total)


def counted_sparsity(model: nn.Module, settings: Settings) -> float:
    """Direct sparsity of a network, in units if the target counts units, otherwise in weights."""
    pruning = settings.pruning
    if pruning.prune_unit == "unit" and pruning.pruning_type == "direct":
        units = open_units(model, groups_of(model)).values()
        return 1 - sum(int(is_open.sum()) for is_open in units) / sum(map(len, units))
    masks = Masks.of(model)
    return 1 - masks.kept / masks.total


def scores_for(
    model: nn.Module,
    data: Data,
    settings: Settings,
    target: Target,
    generator: torch.Generator,
    trained: nn.Module | None = None,
) -> Scores:
    """Scores of weights, or of units with `--prune_unit=unit`, by the pruner of a run."""
    pruner, batches, pruning = run_pruner(settings), scoring_examples(data, settings), settings.pruning
    if pruning.prune_unit == "unit":
        shape, is_compute_aware = data.input_shape, pruning.compute_aware
        return score_units(pruner, model, batches, target, shape, generator, trained, is_compute_aware)
    return pruner.score(model, batches, target, generator, trained)


def score(model: nn.Module, data: Data, settings: Settings, dense: Artifact | None) -> Scores:
    """Scores of a network before it is trained; `dense` has the weights of the dense parent, if the run needs one."""
    parent = None
    if dense is not None:
        parent = initial_model(settings, data).to(next(model.parameters()).device)
        load_weights(parent, dense.weights, settings)
    generator = randomness.generator(settings.run.sample, "random scores")
    return scores_for(model, data, settings, settings.target, generator, parent)


def run_pruner(settings: Settings) -> Pruner:
    """The pruner of a run, by its settings."""
    pruning = settings.pruning
    return make_pruner(
        pruning.pruner, pruning.prune_iterations, pruning.schedule, pruning.invert, pruning.prune_train_mode
    )


def scoring_examples(data: Data, settings: Settings) -> Batches:
    """Batches of training images for the pruner of a run."""
    count, size = settings.pruning.prune_examples or 1, settings.recipe.batch_size
    return data.prune_examples(settings.run.sample, count, size)


def scores_key(settings: Settings) -> str:
    """Key of the scores of a run: equal for runs that differ only in steps after scoring."""
    defaults, pruning = Pruning(), settings.pruning
    after_scoring = ("pruning_type", "effective_type", "keep_alive", "shuffle", "reinitialize")
    values = {name: getattr(defaults, name) for name in after_scoring}
    criteria = [] if pruning.pruner == DENSE else parts(pruning.pruner)
    if all((pruning.prune_iterations or criterion.iterations) == 1 for criterion in criteria):
        values |= {"target_sparsity": defaults.target_sparsity, "com_exp": defaults.com_exp}
    return settings.with_values(**values).key()


class ScoreCache:
    """Cache of scores in this process, for runs that differ only in steps after scoring."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[Scores, float]] = {}
        """Scores, and the seconds that they took, by key."""
        self.saved = 0.0
        """Seconds that the cache saved the last run."""

    def of(self, model: nn.Module, data: Data, settings: Settings, dense: Artifact | None) -> Scores:
        """Scores of a run, from the cache or computed now."""
        key = self._key(settings, dense)
        if key in self.entries:
            scores, self.saved = self.entries[key]
            return scores
        started = time.perf_counter()
        scores = score(model, data, settings, dense)
        self.entries[key] = scores, time.perf_counter() - started
        size = sum(score.numel() for score in scores.values())
        while len(self.entries) > max(1, _CACHED_SCORES // size):
            del self.entries[next(iter(self.entries))]
        return scores

    @staticmethod
    def _key(settings: Settings, dense: Artifact | None) -> str:
        key = f"{scores_key(settings)} {settings.run.path_to_data} {settings.machine.device}"
        # A dense run in another results folder can have different weights.
        return key if dense is None else f"{key} {dense.digest}"


SCORE_CACHE = ScoreCache()


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], settings: Settings) -> None:
    """Load stored weights of another run into a model; raises `UserError` if they belong to another network."""
    try:
        model.load_state_dict({**model.state_dict(), **weights})
    except RuntimeError as error:
        reason = f"the trained weights stored for {settings.title()} do not fit this network"
        raise UserError(f"{reason}; train them again with --pruner=dense --overwrite") from error
