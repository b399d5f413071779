"""Recipe of fine-tuning: how the weights of a found mask are trained."""

from dataclasses import replace

from Utils.config.resolved import Recipe
from Utils.config.settings import Settings

_MILESTONES = {
    6: (3,), 100: (50, 80), 150: (80, 120), 160: (80, 120), 200: (100, 150), 300: (150, 250),
}  # fmt: skip

_DROP_RATE = 0.1

_MOMENTUM = 0.9
"""Momentum of fine-tuning after a search that has none."""


def milestones(epochs: int) -> tuple[int, ...]:
    """Epochs after which the Gem-Miner program divides the rate by 10, after a search of so many epochs."""
    return _MILESTONES.get(epochs, (epochs // 2, 2 * epochs // 3))


def fine_tuning_recipe(settings: Settings, epoch: int) -> Recipe:
    """The recipe of a run with the options of fine-tuning; `epoch`: steps per epoch.

    Batches, augmentation and tests are those of the search.
    """
    options, recipe = settings.options, settings.recipe
    drops = options.fine_tune_lr_drops
    if drops is None:
        drops = tuple(epoch * milestone for milestone in milestones(-(-recipe.iterations // epoch)))
    is_stepped = options.fine_tune_lr_schedule == "step"
    return replace(
        recipe,
        iterations=options.fine_tune_iterations(recipe.iterations),
        optimizer=options.fine_tune_optimizer,
        lr=options.fine_tune_lr,
        lr_schedule=options.fine_tune_lr_schedule,
        lr_drops=drops if is_stepped else (),
        lr_drop_rate=_DROP_RATE,
        momentum=recipe.momentum or _MOMENTUM,
        weight_decay=options.fine_tune_weight_decay,
        warmup=0,
    )
