"""Single-shot pruning: the accuracy of a network that is pruned once, before it is trained.

    python main.py --pruner=snip --target_sparsity=0.99 --pruning_type=effective --data=mnist

Score -> allocate -> measure -> train. Criteria of trained weights score the weights of a dense run with the same sample
and settings; the pruned network still starts from the initial weights. Sanity checks permute the masks (`--shuffle`),
reverse the order of scores (`--invert`) or train from other initial weights (`--reinitialize`).

Takes about 5 minutes for LeNet-300-100 on MNIST (96,000 iterations) on one core of an Intel Xeon; 3 s on digits. One
sample of each network; `--sample 0 1 2` runs three.
"""

from collections.abc import Mapping

from torch import Tensor

from Experiments.common.dense_parent import trained_run
from Experiments.common.masks_for_run import find_masks_timed, target_kept
from Experiments.common.measuring import make_outcome, measure_network
from Experiments.common.network import load_data_and_model, new_weights, restore
from Utils.config.settings import Settings
from Utils.results.outcome import Outcome
from Utils.training.evaluation import untrained
from Utils.training.loop import train

__all__ = ["run", "trained_run"]


def run(settings: Settings, trained: Mapping[str, Tensor] | None = None) -> Outcome:
    """Prune and train one network; `settings` are resolved, `trained` are the weights of `trained_run`."""
    data, model = load_data_and_model(settings)
    masks, prune_seconds = find_masks_timed(model, data, settings, trained)
    target_count = target_kept(model, settings)
    if settings.pruning.reinitialize:
        restore(model, new_weights(settings, data))
    masks.install(model)
    measurement = measure_network(model, data, settings)
    training, machine = settings.training, settings.machine
    if training.train and not measurement.totals["collapsed"]:
        history = train(model, data, training, settings.run.sample, settings.title(), machine)
    else:
        history = untrained(model, data, training, machine)
    return make_outcome(model, data, measurement, history, target_count, prune_seconds)
