"""Sections of a report: their order, their text, and a caption for each figure and table."""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from Experiments.comparison.report import summaries
from Experiments.comparison.report.summaries import Tables


class ShownFigure(NamedTuple):
    """A kind of figure, and what it shows."""

    kind: str
    caption: str


class ShownTable(NamedTuple):
    """A table of the study in short, and what it shows."""

    name: str
    """The table of the study: its CSV file has more."""
    caption: str
    make: Callable[[Tables], pd.DataFrame]


class Section(NamedTuple):
    """A section of the page; what a study has no tables for is left out."""

    title: str
    text: str
    content: tuple[ShownFigure | ShownTable, ...]


SECTIONS = (
    Section(
        "Networks",
        "Networks of one group differ in their sample alone: the seed of initial weights and of the order of images. "
        "All masks are effective ones: a weight counts if it lies on a path of kept weights from an input to an "
        "output.",
        (ShownTable("networks", "The compared networks, with the target density and the results of their runs.",
                    summaries.networks),),
    ),
    Section(
        "Claims of the thesis",
        "Each claim is tested by a fixed rule at every target density with the methods that it names. Few samples of "
        "one architecture confirm or refute it for these networks only. Claims about networks that are not here are "
        "left out.",
        (ShownTable("claims", "Claims, the rule by which each holds, the verdict, and what was measured.",
                    summaries.claims),),
    ),
    Section(
        "Results",
        "Means and sample standard deviations (n - 1) over samples. Paired tests compare two groups sample by sample; "
        "no p-value is corrected for the number of tests.",
        (
            ShownFigure("accuracy-curves", "Top-1 accuracy and test loss against the iteration; bands are one standard "
                        "deviation over samples. A search for a mask comes before its fine-tuning."),
            ShownTable("final", "Final results, mean ± standard deviation.", summaries.final),
            ShownTable("paired", "Differences of top-1 (second - first), paired by sample: two-sided t-test, and "
                       "Wilcoxon's signed-rank test from six pairs on.", summaries.paired),
            ShownTable("operations", "Operations as shares of the dense network. One multiply-add is two operations; "
                       "a step of training takes three passes. The column inference has the number for one image.",
                       summaries.operations),
            ShownTable("tickets", "A winning ticket reaches its least loss no later than the dense network of its "
                       "sample, and less than 1.02 times that network's.", summaries.tickets),
        ),
    ),
    Section(
        "Predictions",
        "From stored probabilities of all test images. An exemplar is an image on which the most frequent answer of "
        "pruned networks differs from that of dense ones.",
        (
            ShownFigure("class-change", "Change of each class's accuracy against the dense networks, means and one "
                        "standard deviation over samples."),
            ShownFigure("reliability", "Accuracy, and share of images, by the confidence of predictions. Below the "
                        "dashed line, networks are overconfident."),
            ShownTable("calibration", "Negative log-likelihood, Brier score (sum over classes), expected calibration "
                       "error and mean confidence.", summaries.calibration),
            ShownTable("disagreement", "Share of test images with different predictions.", summaries.disagreement),
            ShownTable("exemplars", "Numbers of pruning-identified exemplars.", summaries.exemplars),
        ),
    ),
    Section(
        "Densities",
        "Kept density counts what a mask keeps, effective density what of it acts.",
        (
            ShownFigure("group-densities", "Effective (solid) and kept (dashed) density of each layer, with one "
                        "standard deviation over samples. A cross marks a layer without effective weights."),
            ShownTable("densities", "Effective density by layer, mean ± standard deviation.", summaries.densities),
        ),
    ),
    Section(
        "Distances of weights",
        "Units have no fixed order, so the units of one network are matched with those of the other before they are "
        "compared, layer by layer, and the inputs of the next layer follow. NED is the Jaccard distance of the "
        "positions of a unit's weights (NNSTD), SaSD also counts a shared weight with another sign as different, MAED "
        "is the sum of absolute errors as a share of the largest that any order gives. All are 0 for equal units and "
        "1 for disjoint ones, means over units with weights and over both directions. Random networks of the same "
        "layer densities are matched likewise: what is not below them is chance.",
        (
            ShownFigure("network-distances", "Distances of all networks, clustered by average linkage (left), and "
                        "those of random networks of the same densities (right)."),
            ShownFigure("layer-distances", "Distance by layer, means over pairs of networks of two groups; dashed: "
                        "random networks."),
            ShownTable("network_distances", "Distances (mean over layers) of two groups, beside random networks: "
                       "mean ± standard deviation over pairs.", summaries.network_distances),
            ShownFigure("unit-distances", "NED of the units of two networks as stored (above) and aligned (below), "
                        "ordered by the distance to the partner. Titles are means of the diagonal."),
            ShownTable("mask_overlaps", "Intersection over union of masks, unit by unit without alignment, and its "
                       "expectation for random positions.", summaries.mask_overlaps),
        ),
    ),
    Section(
        "Convergent learning",
        "Correlations of the activations of units on the same test images, accumulated in double precision. One-to-one "
        "matching gives each unit its own partner and the largest sum; in semi-matching each has the best one. Units "
        "that are constant are dead, and left out of means. CKA compares whole layers, here with the unbiased "
        "estimator.",
        (
            ShownFigure("activation-similarity", "Mean correlation of matched live units and CKA, means over layers. "
                        "On the diagonal, no unit is its own partner."),
            ShownTable("activation_similarity", "Similarity of two groups: mean ± standard deviation over pairs of "
                       "networks.", summaries.activation_similarity),
            ShownFigure("matched-units", "Correlation of each unit with its partner, units in falling order."),
            ShownFigure("unit-correlations", "Correlations of the units of two networks in the order of their "
                        "matching: partners are on the diagonal."),
        ),
    ),
    Section(
        "Structure of masks",
        "Positions are those of a unit's flattened inputs; a run is a row of consecutive weights. Planes are kernels, "
        "or the image that a dense unit reads. Expectations are those of random positions in the same layer.",
        (
            ShownTable("layer_structure", "Statistics of layers, means over units and samples, with those of random "
                       "positions in brackets; positive_share is the share of positive weights.",
                       summaries.layer_structure),
            ShownFigure("weight-gaps", "Mean gap between consecutive weights of a unit, units with two weights or "
                        "more; bars are means."),
            ShownFigure("weight-positions", "Positions of weights among the inputs of their unit, from 0 to 1."),
            ShownFigure("weight-runs", "Number of runs of a unit."),
            ShownFigure("sign-ratios", "Share of positive weights in runs of two weights or more."),
            ShownFigure("kernel-scores", "Kernel graph score: share of the connected parts of a kernel that have more "
                        "than one weight."),
            ShownFigure("common-kernels", "The most common patterns of kernels with their numbers, and as multiples of "
                        "chance."),
            ShownFigure("input-maps", "Weights of the first layer by input: their number, and positive minus negative "
                        "ones, means over samples."),
            ShownFigure("kernel-maps", "Weights by cell of the kernels, as multiples of chance."),
            ShownFigure("score-histograms", "Scores of supermasks after the search: entries that may be kept (solid) "
                        "and frozen ones (dashed)."),
            ShownTable("rounding_distances", "Supermasks rounded at the threshold (naive) or at random with the scores "
                       "as probabilities: shares of a layer that are kept, and that differ, in expectation.",
                       summaries.rounding_distances),
        ),
    ),
    Section(
        "Pictures",
        "One network of each group, of nine groups at most. In feature maps and patches, units at one place are "
        "partners by their activations; kernels are each network's own.",
        (
            ShownFigure("first-layers", "Sum, absolute sum and number of the first layer's effective weights at each "
                        "pixel."),
            ShownFigure("kernels", "Units of the first layer, or kernels, with the largest absolute sums: red is "
                        "positive, blue negative, white is pruned."),
            ShownFigure("feature-maps", "Feature maps of one image."),
            ShownFigure("patches", "The part of a test image that excites each unit most, cut out by its receptive "
                        "field."),
        ),
    ),
    Section(
        "Linear connectivity",
        "Networks on the straight line between two solutions, as they are and after the second one's units were "
        "matched by their weights. A barrier is the largest rise above the line between the ends; 0 means that both "
        "lie in one basin.",
        (
            ShownFigure("linear-paths", "Test loss and error along the paths; dashed: after matching."),
            ShownTable("barriers", "Barriers of loss and error (test), and of training loss: mean ± standard deviation "
                       "over pairs.", summaries.barriers),
        ),
    ),
)  # fmt: skip
