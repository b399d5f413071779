"""Cost of a search for a mask: seconds of a step of each algorithm, against a dense step of the same network.

    python -m benchmarks.supermask FOLDER

FOLDER contains MNIST. The trainings of the FC network of Gem-Miner, with batches of 128 and momentum, take turns on one
thread; each is the training loop of every experiment. Medians over the rounds; ratios are medians of the ratios within
a round.
"""

import statistics
import sys

import torch

from benchmarks.timing import keep
from Layers import prunable
from Layers.forms.baked import Baked
from Layers.forms.rounding import GlobalTop, LayerTop, Rounding, Threshold
from Layers.forms.score_inits import SCORE_INITS
from Layers.forms.score_penalties import ScorePenalty
from Layers.forms.supermask import Supermask
from Layers.forms.weight_form import WeightForm
from Models import build
from Utils.config.resolved import Recipe
from Utils.data.dataset import Data, load
from Utils.data.image_spec import ImageSpec
from Utils.training.context import RunContext
from Utils.training.loop import train
from Utils.training.task import TrainingTask

STEPS, ROUNDS, DENSITY = 400, 15, 0.1


def searches(sizes: list[int]) -> dict[str, tuple[Rounding, ScorePenalty | None, str]]:
    """Rounding, penalty and initial scores of each algorithm, for parameters of these sizes."""
    counts = [round(DENSITY * size) for size in sizes]
    return {
        "gem-miner": (Threshold(), ScorePenalty("l2", 1e-4), "uniform"),
        "edge-popup": (LayerTop(counts), None, "kaiming-uniform"),
        "global-edge-popup": (GlobalTop(sum(counts)), None, "kaiming-uniform"),
    }


def seconds(data: Data, name: str) -> float:
    """Seconds of a step of one training; "dense" trains the weights."""
    generator = torch.Generator().manual_seed(0)
    model = build("gem-miner/fc", (1, 28, 28), 10, generator=generator)
    form: WeightForm = Baked()
    if name != "dense":
        parameters = {name: weight for name, (weight, _) in prunable(model).items()}
        rounding, penalty, init = searches([weight.numel() for weight in parameters.values()])[name]
        scores = {name: SCORE_INITS[init](weight, generator) for name, weight in parameters.items()}
        form = Supermask(scores, rounding, penalty)
    recipe = Recipe(
        iterations=STEPS, batch_size=128, evaluate_every=STEPS, optimizer="momentum", lr=0.1, momentum=0.9,
        weight_decay=5e-4,
    )  # fmt: skip
    (history,) = train(TrainingTask(model, data, recipe), RunContext(has_bar=False), form)
    return history.last["seconds"] / STEPS


def main(folder: str) -> None:
    """Measure in turn, and keep the numbers."""
    torch.set_num_threads(1)
    data = load("mnist", folder, ImageSpec((1, 28, 28)))
    names = ["dense", *searches([])]
    rounds = [{name: seconds(data, name) for name in names} for _ in range(ROUNDS + 1)][1:]
    steps = {name: 1e3 * statistics.median(one[name] for one in rounds) for name in names}
    ratios = {name: statistics.median(one[name] / one["dense"] for one in rounds) for name in names[1:]}
    numbers = {
        "milliseconds of a step": {name: round(value, 3) for name, value in steps.items()},
        "times a dense step": {name: round(value, 3) for name, value in ratios.items()},
    }
    keep("supermask", "python -m benchmarks.supermask FOLDER", numbers)


if __name__ == "__main__":
    main(sys.argv[1])
