"""Kinds of figures of a comparison, in the order of its report."""

from Utils.figures.registry import FigureKind

FIGURE_KINDS = {
    "group-densities": FigureKind(
        "Utils.figures.comparison.layer_densities:layer_densities",
        "density of each layer of compared networks, with bands of one standard deviation",
    ),
    "network-distances": FigureKind(
        "Utils.figures.comparison.network_distances:network_distances",
        "distances of all compared networks, clustered, beside those of random networks",
    ),
    "layer-distances": FigureKind(
        "Utils.figures.comparison.network_distances:layer_distances",
        "distances of compared networks by layer, beside those of random networks",
    ),
    "unit-distances": FigureKind(
        "Utils.figures.comparison.unit_distances:unit_distances",
        "distances of all units of two networks, as stored and after alignment",
    ),
    "activation-similarity": FigureKind(
        "Utils.figures.comparison.similarity:activation_similarity",
        "correlation of matched units, and CKA, of every two compared networks",
    ),
    "matched-units": FigureKind(
        "Utils.figures.comparison.units:matched_units",
        "correlation of each unit with its partner in another network, one-to-one and semi-matching",
    ),
    "unit-correlations": FigureKind(
        "Utils.figures.comparison.units:unit_correlations",
        "correlations of the activations of two networks' units, in the order of their matching",
    ),
    "weight-gaps": FigureKind(
        "Utils.figures.comparison.structure_violins:gaps",
        "mean gap between the weights of a unit, by layer",
    ),
    "weight-positions": FigureKind(
        "Utils.figures.comparison.structure_violins:positions",
        "positions of weights among the inputs of their unit, by layer",
    ),
    "weight-runs": FigureKind(
        "Utils.figures.comparison.structure_violins:runs",
        "number of runs of consecutive weights in a unit, by layer",
    ),
    "sign-ratios": FigureKind(
        "Utils.figures.comparison.structure_violins:sign_ratios",
        "share of positive weights in runs of consecutive weights, by layer",
    ),
    "kernel-scores": FigureKind(
        "Utils.figures.comparison.structure_violins:kernel_scores",
        "how far the weights of kernels hang together, by layer",
    ),
    "common-kernels": FigureKind(
        "Utils.figures.comparison.common_kernels:common_kernels",
        "the most common patterns of kernels, with their counts and what chance gives",
    ),
    "input-maps": FigureKind(
        "Utils.figures.comparison.position_maps:input_maps",
        "number and signs of first-layer weights by input, means over samples",
    ),
    "kernel-maps": FigureKind(
        "Utils.figures.comparison.position_maps:kernel_maps",
        "weights by cell of the kernels, as multiples of what chance gives",
    ),
    "score-histograms": FigureKind(
        "Utils.figures.comparison.score_histograms:score_histograms",
        "scores of supermasks after the search, of entries that may be kept and of those frozen out",
    ),
    "first-layers": FigureKind(
        "Utils.figures.comparison.weights:first_layers", "sum, absolute sum and count of first-layer weights, as images"
    ),
    "kernels": FigureKind("Utils.figures.comparison.weights:kernels", "kernels of compared networks, as images"),
    "feature-maps": FigureKind(
        "Utils.figures.comparison.seen:feature_maps", "feature maps of one image in compared networks, matched"
    ),
    "patches": FigureKind(
        "Utils.figures.comparison.seen:patches",
        "the part of an image at which each unit is most active, matched units of compared networks side by side",
    ),
    "accuracy-curves": FigureKind(
        "Utils.figures.comparison.accuracy_curves:accuracy_curves",
        "accuracy and loss of compared networks over training, with bands of one standard deviation",
    ),
    "class-change": FigureKind(
        "Utils.figures.comparison.class_change:class_change",
        "change of the accuracy of each class by pruning",
    ),
    "reliability": FigureKind(
        "Utils.figures.comparison.reliability:reliability",
        "accuracy of compared networks against the confidence of their predictions",
    ),
    "linear-paths": FigureKind(
        "Utils.figures.comparison.linear_paths:linear_paths",
        "loss and error on the straight line between the weights of two networks",
    ),
}
