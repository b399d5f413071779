"""Which masks does a run's pruner give?"""

import time
from collections.abc import Mapping
from hashlib import sha256

import torch
from safetensors.torch import save
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

_KEPT_ENTRIES = 1 << 26
"""Scores that are kept for further runs: 512 MiB."""


def find_masks(model: nn.Module, data: Data, settings: Settings, trained: Mapping[str, Tensor] | None) -> Masks:
    """The masks that a run's pruner, target and pruning type give; the model stays as it is."""
    pruning, sample = settings.pruning, settings.run.sample
    masks = Masks.of(model)
    if pruning.pruner != DENSE:
        scores = SCORE_CACHE.of(model, data, settings, trained)
        masks = allocate_masks(model, scores, settings.target, data, settings)
    return masks.shuffle(randomness.generator(sample, "shuffle")) if pruning.shuffle else masks


def find_masks_timed(
    model: nn.Module, data: Data, settings: Settings, trained: Mapping[str, Tensor] | None
) -> tuple[Masks, float]:
    """The same masks, in all processes of a run, and the seconds it takes to make them."""
    started, SCORE_CACHE.saved = time.perf_counter(), 0.0
    masks = agree(lambda: find_masks(model, data, settings, trained).to("cpu"))
    return masks, time.perf_counter() - started + SCORE_CACHE.saved


def allocate_masks(model: nn.Module, scores: Scores, target: Target, data: Data, settings: Settings) -> Masks:
    """The masks that scores give for a target, in the way that a run's settings say."""
    pruning = settings.pruning
    request = (target, data.input_shape, pruning.pruning_type, pruning.effective_type)
    if pruning.prune_unit == "unit":
        return allocate_units(model, scores, *request)
    if pruning.keep_alive:
        scores = keep_alive(model, scores, *request)
    return allocate(model, scores, *request)


def target_kept(model: nn.Module, settings: Settings, target: Target | None = None) -> int:
    """How much a target keeps of a network: weights or, if it counts these, units; of a dense one what it has."""
    pruning, target = settings.pruning, target or settings.target
    if pruning.pruner == DENSE:
        return Masks.of(model).kept
    if pruning.prune_unit == "unit" and pruning.pruning_type == "direct":
        return target.kept(sum(len(prunable(model)[name][0]) for name in groups_of(model)))
    return target.kept(Masks.of(model).total)


def counted_sparsity(model: nn.Module, settings: Settings) -> float:
    """The share that a network lacks of what a target counts."""
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
    """The scores that a run's pruner gives weights or, if these are pruned, units."""
    pruner, batches, pruning = run_pruner(settings), scoring_examples(data, settings), settings.pruning
    if pruning.prune_unit == "unit":
        shape, aware = data.input_shape, pruning.compute_aware
        return score_units(pruner, model, batches, target, shape, generator, trained, aware)
    return pruner.score(model, batches, target, generator, trained)


def score(model: nn.Module, data: Data, settings: Settings, trained: Mapping[str, Tensor] | None) -> Scores:
    """The scores that a run's pruner gives at its start."""
    scored = None
    if trained is not None:
        scored = initial_model(settings, data).to(next(model.parameters()).device)
        load_weights(scored, trained, settings)
    generator = randomness.generator(settings.run.sample, "random scores")
    return scores_for(model, data, settings, settings.target, generator, scored)


def run_pruner(settings: Settings) -> Pruner:
    """The pruner that a run's settings describe."""
    pruning = settings.pruning
    return make_pruner(
        pruning.pruner, pruning.prune_iterations, pruning.schedule, pruning.invert, pruning.prune_train_mode
    )


def scoring_examples(data: Data, settings: Settings) -> Batches:
    """The images that a run's pruner scores."""
    count, size = settings.pruning.prune_examples or 1, settings.training.batch_size or 1
    return data.prune_examples(settings.run.sample, count, size)


def scores_key(settings: Settings) -> str:
    """Equal for runs that differ only in what comes after scoring, whose scores are the same."""
    usual, pruning = Pruning(), settings.pruning
    later = ("pruning_type", "effective_type", "keep_alive", "shuffle", "reinitialize")
    values = {name: getattr(usual, name) for name in later}
    criteria = [] if pruning.pruner == DENSE else parts(pruning.pruner)
    if all((pruning.prune_iterations or criterion.iterations) == 1 for criterion in criteria):
        values |= {"target_sparsity": usual.target_sparsity, "com_exp": usual.com_exp}
    return settings.with_values(**values).key()


class ScoreCache:
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
        key = f"{scores_key(settings)} {settings.run.path_to_data} {settings.machine.device}"
        # The dense run of another folder of results can have other weights.
        return key if trained is None else f"{key} {sha256(save(dict(trained))).hexdigest()}"


SCORE_CACHE = ScoreCache()


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], settings: Settings) -> None:
    """Give a model the kept weights of another run; raises `UserError` if they are of another network."""
    try:
        model.load_state_dict({**model.state_dict(), **weights})
    except RuntimeError as error:
        reason = f"the trained weights kept for {settings.title()} are not those of this network"
        raise UserError(f"{reason}; make them again with --pruner=dense --overwrite") from error
