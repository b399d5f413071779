"""Parts of a comparison: the tables of each, computed step by step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from Experiments.comparison.activations import pictures, weight_pictures
from Experiments.comparison.activations.tables import activation_tables
from Experiments.comparison.distances import tables as distances
from Experiments.comparison.distances.alignment import kernels_of
from Experiments.comparison.distances.comparing import alignment_of
from Experiments.comparison.distances.measures import measure
from Experiments.comparison.networks import Network
from Experiments.comparison.outcomes import tables as outcomes
from Experiments.comparison.outcomes.paths import path_tables
from Experiments.comparison.pairs import pictured_pairs, shown_pairs
from Experiments.comparison.structure import tables as structure
from Experiments.comparison.structure.tickets import ticket_table
from Utils import randomness
from Utils.config.resolved import Recipe
from Utils.config.settings import Settings
from Utils.data.dataset import Data
from Utils.results.predictions import has_predictions
from Utils.results.supermask_scores import Scores, read_scores

Tables = dict[str, pd.DataFrame]

Steps = Iterator[tuple[str, Callable[[], Tables]]]
"""What is computed, in words for the progress bar, and the tables that it gives."""


@dataclass(frozen=True)
class Comparison:
    """What all parts read."""

    settings: Settings
    networks: Sequence[Network]
    data: Data
    recipe: Recipe
    """How networks are tested: in which batches, and with which normalisation."""

    @cached_property
    def pixels(self) -> Tensor:
        """uint8 test images (images, channels, rows, columns), drawn at random once for all networks."""
        count = min(self.settings.options.images, len(self.data.test))
        order = torch.randperm(len(self.data.test), generator=randomness.generator(0, "compared images"))
        return next(iter(self.data.test.batches([order[:count].sort().values])))[0]

    @cached_property
    def inputs(self) -> Tensor:
        """The same images, normalised."""
        return self.data.normalised(self.pixels)

    @property
    def runs(self) -> list[Network]:
        """The networks that have the folder of a run."""
        return [network for network in self.networks if network.folder]

    def generator(self) -> np.random.Generator:
        """A generator for random networks, the same for every part, whatever other parts drew."""
        return np.random.default_rng(randomness.generator(0, "null models").initial_seed())


def densities(compared: Comparison) -> Steps:
    """Densities of layers."""
    yield "densities", lambda: structure.density_tables(compared.networks, compared.settings.options.shortcuts)


def distances_of_weights(compared: Comparison) -> Steps:
    """Distances of all pairs, overlaps of masks, and distances of units of the shown pairs."""
    options, networks = compared.settings.options, compared.networks
    yield "distances", lambda: distances.distance_tables(
        networks, compared.generator(), alignment=options.alignment, steps=options.swaps, nulls=options.nulls,
        variant=options.variant, null_model=options.null_models[0],
    )  # fmt: skip
    yield "overlaps", lambda: {"mask_overlaps": distances.mask_overlap_table(networks)}
    yield (
        "distances of units",
        lambda: {
            "unit_distances": distances.unit_distance_table(
                networks, pictured_pairs(networks), compared.generator(), ["ned"], options.alignment, options.swaps
            )
        },
    )


def activations(compared: Comparison) -> Steps:
    """Correlations of units, and CKA."""
    yield (
        "activations",
        lambda: activation_tables(
            compared.networks, compared.inputs, compared.settings.options.when, pictured_pairs(compared.networks)
        ),
    )


def structures(compared: Comparison) -> Steps:
    """Structure of masks, counts of weights, and scores of supermasks."""
    options, networks = compared.settings.options, compared.networks
    yield (
        "structure",
        lambda: structure.structure_tables(
            networks, compared.generator(), options.nulls, options.null_models, options.variant
        ),
    )
    yield "weights", lambda: structure.weight_tables(networks, options.variant, options.shortcuts)
    scores = {network.name: _scores(network) for network in compared.runs}
    if any(scores.values()):
        yield "scores", lambda: structure.score_tables(networks, {name: own for name, own in scores.items() if own})


def _scores(network: Network) -> dict[str, Scores]:
    """The scores of a network's layers, in their order."""
    scores = read_scores(network.folder)
    names = {layer.name: f"{layer.name}.weight" for layer in network.layers}
    return {layer: scores[name] for layer, name in names.items() if name in scores}


def shown_pictures(compared: Comparison) -> Steps:
    """Pictures of one network of each group."""
    shown = pictures.representatives(compared.networks)
    yield "pictures of weights", lambda: weight_pictures.weight_tables(shown)
    yield (
        "pictures of activations",
        lambda: pictures.picture_tables(shown, compared.inputs, compared.pixels, compared.settings.options.when),
    )


def results(compared: Comparison) -> Steps:
    """What the runs stored of their trainings; nothing for files."""
    if runs := compared.runs:
        yield "outcomes", lambda: {
            **outcomes.final_tables(runs), **outcomes.curve_tables(runs), **outcomes.operation_tables(runs),
            "tickets": ticket_table(runs),
        }  # fmt: skip


def predictions(compared: Comparison) -> Steps:
    """What the runs that stored their predictions say about each image; nothing for the others."""
    if runs := [network for network in compared.runs if has_predictions(network.folder)]:
        yield "predictions", lambda: outcomes.prediction_tables(runs, outcomes.stored_predictions(runs))


def paths(compared: Comparison) -> Steps:
    """The line between the networks of each shown pair, a step each."""
    networks = {network.name: network for network in compared.networks}
    for names in shown_pairs(compared.networks):
        pair = networks[names[0]], networks[names[1]]
        yield f"path {names[0]} to {names[1]}", lambda pair=pair: _path(compared, *pair)


def _path(compared: Comparison, first: Network, second: Network) -> Tables:
    options, machine = compared.settings.options, compared.settings.machine
    permutations = {(first.name, second.name): _matching(compared, first, second)}
    return path_tables([(first, second)], compared.data, compared.recipe, machine, permutations, options.points)


def _matching(compared: Comparison, first: Network, second: Network) -> dict[str, np.ndarray]:
    """The order of the second network's units that brings its weights closest to the first's, by layer."""
    options = compared.settings.options
    alignment = alignment_of([first, second], options.alignment, options.swaps)
    own, other = (kernels_of(network.layers) for network in (first, second))
    partners = alignment.partners(own, other, measure("maed"), compared.generator())
    return alignment.symmetries.orders(partners)


STEPS: dict[str, Callable[[Comparison], Steps]] = {
    "densities": densities,
    "distances": distances_of_weights,
    "activations": activations,
    "structure": structures,
    "pictures": shown_pictures,
    "outcomes": results,
    "predictions": predictions,
    "paths": paths,
}
"""The steps of each part of `choices.PARTS`."""
