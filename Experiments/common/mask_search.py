"""Search for a mask: the scores of a run, their rounding and penalty, and when entries are frozen out."""

from collections.abc import Mapping
from typing import Any

import torch

from Experiments.common.trial import Trial
from Layers import Masks, prunable
from Layers.forms.rounding import GlobalTop, LayerTop, Rounding, Threshold
from Layers.forms.score_inits import SCORE_INITS
from Layers.forms.score_penalties import ScorePenalty
from Layers.forms.supermask import Supermask
from Pruners.allocation import allocate
from Pruners.freezing import freeze_weakest
from Pruners.schedules.freezing import FreezingSchedule
from Pruners.schedules.smart_ratio import smart_ratio_counts
from Utils import randomness
from Utils.config.settings import Settings
from Utils.errors import UserError
from Utils.training.callbacks import Callback
from Utils.training.state import TrainingState


def make_form(trial: Trial) -> Supermask:
    """The scores of a run at the start of its search; raises `UserError` if the masks of the network keep too few."""
    _check_available(trial)
    options, generator = trial.settings.options, randomness.generator(trial.settings.run.sample, "mask scores")
    draw = SCORE_INITS[options.score_init or options.how.score_init]
    scores = {name: draw(weight.detach().cpu(), generator) for name, (weight, _) in prunable(trial.model).items()}
    penalty = None
    if options.penalty != "none":
        first, second = options.penalty_exponents
        penalty = ScorePenalty(options.penalty, options.penalty_strength, (first, second))
    return Supermask(scores, _rounding(trial), penalty)


def _check_available(trial: Trial) -> None:
    """Raise `UserError` if the network has fewer weights that are not pruned than the search is to keep."""
    masks, options, target = Masks.of(trial.model), trial.settings.options, trial.settings.target
    parts = {"the network": list(masks.values())}
    if not options.how.is_global:
        parts = {name: [mask] for name, mask in masks.items()}
    for name, part in parts.items() if options.has_target else ():
        total, available = sum(mask.numel() for mask in part), sum(int(mask.sum()) for mask in part)
        if available < target.kept(total):
            raise UserError(
                f"{target.kept(total)} of {total} weights cannot be kept: {name} has only {available} unpruned ones to "
                "begin with"
            )


def _rounding(trial: Trial) -> Rounding:
    options, target = trial.settings.options, trial.settings.target
    sizes = [mask.numel() for _, mask in prunable(trial.model).values()]
    if options.how.is_clamped:
        return Threshold(options.threshold, options.clamp_forward, not options.quantize)
    if not options.how.is_global:
        return LayerTop([target.kept(size) for size in sizes])
    return GlobalTop(sum(sizes) if options.how.is_iterative else target.kept(sum(sizes)))


def rounded_masks(settings: Settings, form: Supermask) -> Masks:
    """The final masks of a search that has ended, by the rounding rule of the run, on the CPU."""
    assert form.free is not None
    free, options = form.free.to("cpu"), settings.options
    if options.unflag:
        return free
    if not options.how.is_clamped:
        return Masks.of(form.model).to("cpu")
    generator = randomness.generator(settings.run.sample, "rounding")
    masks = {}
    for name, score in form.scores.items():
        score = score.cpu().clamp(0, 1)
        levels = torch.rand(score.shape, generator=generator) if options.rounding == "probabilistic" else None
        masks[name] = free[name] & (score > (options.threshold if levels is None else levels))
    return Masks(masks)


def smart_ratio_masks(trial: Trial) -> Masks:
    """Random masks of kernels with the layer densities of Smart-Ratio, on the CPU."""
    settings, parameters = trial.settings, prunable(trial.model)
    kernels = {name: mask for name, (weight, mask) in parameters.items() if weight.dim() > 1}
    ends = settings.options.smart_ratio_ends
    further = {} if ends is None else {"first_density": ends[0], "last_density": ends[1]}
    sizes, is_plain = [mask.numel() for mask in kernels.values()], "vgg" in settings.run.architecture
    kept = smart_ratio_counts(sizes, settings.target.density, is_plain, **further).counts
    generator = randomness.generator(settings.run.sample, "mask scores")
    masks = {name: mask.cpu() for name, (_, mask) in parameters.items()}
    for (name, mask), count in zip(kernels.items(), kept, strict=True):
        flat = torch.zeros(mask.numel(), dtype=torch.bool)
        flat[torch.randperm(mask.numel(), generator=generator)[:count]] = True
        masks[name] = flat.reshape(mask.shape)
    return Masks(masks)


class Freezing(Callback):
    """Freezes entries out at the end of epochs, or, in an iterative search, keeps fewer of the largest scores."""

    def __init__(self, trial: Trial, form: Supermask, epoch: int) -> None:
        """`epoch`: steps per epoch."""
        self.trial, self.form, self.epoch = trial, form, epoch
        settings = trial.settings
        self.options, self.target, self.steps = settings.options, settings.target, settings.recipe.iterations
        base = Masks.of(trial.model)
        self.initial = base.kept / base.total
        self.generator = randomness.generator(settings.run.sample, "frozen entries")
        if self.options.how.has_steps:
            epochs = -(-self.steps // epoch)
            self.schedule = FreezingSchedule(epochs, self.options.freeze_every, self.options.stop_freezing)

    def finish_step(self, training: TrainingState) -> None:
        """Freeze if the epoch that ends is followed by it."""
        is_end = training.step % self.epoch == 0 or training.step == self.steps
        finished = -(-training.step // self.epoch) - 1
        if not (self.options.how.has_steps and is_end and self.schedule.is_due(finished)):
            return
        if self.options.how.is_iterative:
            self._keep_fewer(self.schedule.event(finished))
        else:
            masks = self.trial.context.agree(lambda: self._left(self.schedule.event(finished)))
            self.form.freeze(masks)

    def _keep_fewer(self, event: int) -> None:
        assert isinstance(self.form.rounding, GlobalTop)
        free = self.form.current_free()
        self.form.rounding.count = self.target.part(event, self.schedule.events).kept(free.total)
        self.form.after_step()

    def _left(self, event: int) -> Masks:
        """The entries that are still free after an event, on the CPU."""
        free, rule = self.form.current_free().to("cpu"), self.options.freeze_rule
        scores = {name: score.cpu() for name, score in self.form.current_values().items()}
        if rule == "threshold":
            return Masks({name: mask & (scores[name] > self.options.threshold) for name, mask in free.items()})
        if self.trial.settings.pruning.pruning_type == "effective":
            return self._left_by_effective(scores, free, event)
        rate = self.schedule.rate(self.target, self.initial)
        return freeze_weakest(scores, free, rate, self.generator, per_layer=rule == "layer")

    def _left_by_effective(self, scores: Mapping[str, torch.Tensor], free: Masks, event: int) -> Masks:
        """The entries with the highest scores, of which as many are effective as the target of this event keeps."""
        model, pruning = self.trial.model, self.trial.settings.pruning
        masks, shape = Masks.of(model), self.trial.data.input_shape
        target = self.target.part(event, self.schedule.events)
        free.install(model)
        device = next(iter(masks.values())).device
        scores = {name: score.abs().double().to(device) for name, score in scores.items()}
        try:
            return allocate(model, scores, target, shape, "effective", pruning.effective_type).to("cpu")
        finally:
            masks.install(model)

    def state(self) -> dict[str, Any]:
        """The state of the generator that chooses between equal scores, and the number of scores that are kept."""
        count = self.form.rounding.count if isinstance(self.form.rounding, GlobalTop) else 0
        return {"generator": self.generator.get_state(), "count": count}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        self.generator.set_state(state["generator"])
        if isinstance(self.form.rounding, GlobalTop):
            self.form.rounding.count = state["count"]
            self.form.after_step()
