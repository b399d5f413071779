"""The registry of figures, readable without matplotlib.

A figure is a function `(rows, style, title, order) -> Figure` of the rows of `summary.csv`, in a file here, and a line
below. `style` gives label, colour and marker of a pruner, `order` the pruners in the order of the legend.
"""

from typing import NamedTuple


class FigureKind(NamedTuple):
    """One line of the registry."""

    target: str
    about: str


FIGURES: dict[str, FigureKind] = {
    "accuracies": FigureKind(
        "Utils.figures.accuracy:accuracies",
        "top-1 against effective (solid) and direct (dashed) compression, bands from the worst to the best sample",
    ),
    "compressions": FigureKind("Utils.figures.accuracy:compressions", "effective against target compression"),
    "layers": FigureKind("Utils.figures.layers:layers", "density of each layer, effective (solid) and direct (dashed)"),
    "dead-units": FigureKind(
        "Utils.figures.layers:dead_units",
        "share of each layer's hidden units that do nothing (solid), and that visibly have no weight left (dashed)",
    ),
    "training": FigureKind(
        "Utils.figures.training:training", "accuracy, loss and learning rate over the iterations of training"
    ),
    "masks": FigureKind(
        "Utils.figures.masks:masks",
        "as images, the weights that each input (or kernel entry) of the first layer has left",
    ),
}
