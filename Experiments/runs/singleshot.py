"""Single-shot pruning: scores, allocates, measures and trains one network."""

from collections.abc import Mapping

from Experiments.common.branching import Branch
from Experiments.common.trial import Trial
from Utils.config.settings import Settings
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Prune and train one network; `inputs["dense"]` are the trained weights that its pruner scores, if any."""
    trial = Trial(settings, context, inputs.get("dense"))
    masks = trial.find_masks()
    if settings.pruning.reinitialize:
        trial.reinitialize()
    masks.install(trial.model)
    measurement = trial.measure()
    branch = Branch(trial)
    is_trained = settings.recipe.train and not measurement.totals["collapsed"]
    history = trial.train(*branch.callbacks) if is_trained else trial.test()
    return branch.added(trial.outcome(measurement, history), trial.model, settings.recipe)
