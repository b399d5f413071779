"""Single-shot pruning: scores, allocates, measures and trains one network."""

from collections.abc import Mapping

from Experiments.common.masks_for_run import find_masks_timed, target_kept
from Experiments.common.measuring import make_outcome, measure_network
from Experiments.common.network import load_data_and_model, new_weights, restore
from Utils.config.settings import Settings
from Utils.results.artifacts import Artifact
from Utils.results.outcome import Outcome
from Utils.training.context import RunContext
from Utils.training.evaluation import untrained
from Utils.training.loop import train
from Utils.training.task import task_of


def run(settings: Settings, inputs: Mapping[str, Artifact], context: RunContext) -> Outcome:
    """Prune and train one network; `inputs["dense"]` are the trained weights that its pruner scores, if any."""
    data, model = load_data_and_model(settings)
    masks, prune_seconds = find_masks_timed(model, data, settings, inputs.get("dense"))
    target_count = target_kept(model, settings)
    if settings.pruning.reinitialize:
        restore(model, new_weights(settings, data))
    masks.install(model)
    measurement = measure_network(model, data, settings)
    if settings.recipe.train and not measurement.totals["collapsed"]:
        history = train(task_of(model, data, settings), context)
    else:
        history = untrained(model, data, settings.recipe, settings.machine)
    return make_outcome(model, data, measurement, history, target_count, prune_seconds)
