"""Registry of figures, readable without matplotlib.

A figure is a function `(rows, style, title, order) -> Figure` in a file of this package, and one line below. `rows` are
rows of `summary.csv`, `style` maps a pruner to its label, colour and marker, and `order` lists the pruners in the order
of the legend. An experiment may list the kinds that are its own (`Experiment.figures`).
"""

from typing import NamedTuple


class FigureKind(NamedTuple):
    """Registry entry of a kind of figure."""

    target: str
    about: str
    is_animated: bool = False
    """Whether the function returns a list of `(name, Figure)`, which is also saved as an animation."""


FIGURES: dict[str, FigureKind] = {
    "accuracies": FigureKind(
        "Utils.figures.accuracies:accuracies",
        "top-1 against effective (solid) and direct (dashed) compression, bands from the worst to the best sample",
    ),
    "compressions": FigureKind("Utils.figures.compressions:compressions", "effective against target compression"),
    "layers": FigureKind("Utils.figures.layers:layers", "density of each layer, effective (solid) and direct (dashed)"),
    "dead-units": FigureKind(
        "Utils.figures.layers:dead_units",
        "share of each layer's hidden units that do nothing (solid), and that visibly have no weight left (dashed)",
    ),
    "training": FigureKind(
        "Utils.figures.training:training", "accuracy, loss and learning rate over the iterations of training"
    ),
    "sparsity": FigureKind(
        "Utils.figures.sparsity:sparsity", "density and accuracy over the iterations of pruning while training"
    ),
    "search": FigureKind(
        "Utils.figures.search:search",
        "accuracy, density and flips of a mask over the epochs of search and fine-tuning",
    ),
    "levels": FigureKind(
        "Utils.figures.levels:levels",
        "accuracy against the density of each level, of rewound (solid) and of other initial weights (dashed)",
    ),
    "overlaps": FigureKind("Utils.figures.overlaps:overlaps", "how far the masks of every two cycles are the same"),
    "arms": FigureKind("Utils.figures.arms:arms", "accuracy of the arms of union-mask, means and standard deviations"),
    "weights-and-units": FigureKind(
        "Utils.figures.train_then_prune.weights_and_units:weights_and_units",
        "accuracy and loss of a trained network against the share of weights, and of units, that is pruned",
    ),
    "trained": FigureKind(
        "Utils.figures.train_then_prune.trained:trained", "loss and accuracy of that network while it is trained"
    ),
    "pruned-weights": FigureKind(
        "Utils.figures.train_then_prune.pruned_weights:pruned_weights",
        "histograms of the weights that are left, and an animation",
        is_animated=True,
    ),
    "pruned-units": FigureKind(
        "Utils.figures.train_then_prune.pruned_units:pruned_units",
        "histograms of the norms of the units that are left, and an animation",
        is_animated=True,
    ),
    "unit-conservation": FigureKind(
        "Utils.figures.theory.unit_conservation:unit_conservation",
        "scores that leave each hidden unit against those that enter it, per pruner",
    ),
    "layer-conservation": FigureKind(
        "Utils.figures.theory.layer_conservation:layer_conservation",
        "average score of each layer against the inverse of its size, with slopes",
    ),
    "imp-conservation": FigureKind(
        "Utils.figures.theory.imp_conservation:imp_conservation",
        "mean squared weight of each layer against the inverse of its size, coloured by epoch",
    ),
    "schedule-conservation": FigureKind(
        "Utils.figures.theory.schedule_conservation:schedule_conservation",
        "largest ratio of pruned scores to the flow of SynFlow against the number of rounds, by schedule",
    ),
    "layer-collapse": FigureKind(
        "Utils.figures.theory.layer_collapse:layer_collapse",
        "density of each layer against compression, and the first layer that is empty",
    ),
    "quotas": FigureKind(
        "Utils.figures.theory.quotas:quotas", "density of each layer under several pruners at the same compressions"
    ),
    "effective-gap": FigureKind(
        "Utils.figures.theory.effective_gap:effective_gap",
        "effective against direct compression over the whole order of a pruner, with dead units and structural rank",
    ),
    "collapse": FigureKind(
        "Utils.figures.theory.collapse:collapse",
        "top-1 against direct compression, up to the maximal compression that leaves no layer empty",
    ),
    "anatomy": FigureKind(
        "Utils.figures.theory.anatomy:anatomy",
        "accuracy against compression, and how statistics of masks rank networks of equal sparsity",
    ),
    "anatomy-scatter": FigureKind(
        "Utils.figures.theory.anatomy:scatter", "accuracy against each statistic of masks at one level"
    ),
    "masks": FigureKind(
        "Utils.figures.masks:masks",
        "as images, the weights that each input (or kernel entry) of the first layer has left",
    ),
}
