"""Choices of a comparison: what it can compute, and the names of its methods. Loads no PyTorch."""

PARTS = {
    "densities": "densities of layers",
    "distances": "distances of weights, overlaps of masks",
    "activations": "correlations of units, CKA",
    "structure": "gaps, runs, clusters, kernels, positions and signs of weights; scores of supermasks",
    "pictures": "first layers, kernels, feature maps, patches that excite units",
    "outcomes": "final results with paired tests, training curves, operations, winning tickets",
    "predictions": "calibration, accuracy by class, disagreement, exemplars; reads what --save_predictions stored",
    "paths": "loss on the line between two networks, before and after matching",
}

USUAL_PARTS = ("densities", "distances", "activations", "structure", "pictures", "outcomes", "predictions")
"""All but the part that tests networks many times."""

VARIANTS = ("corrected", "thesis")
"""The definitions by default, and those of the thesis that this study follows, with its known errors."""

ALIGNMENTS = {
    "auto": "`tied` if several layers make the same units, as in residual networks, else `first-layer-first`",
    "first-layer-first": "match the units of one layer after the other, from the inputs on",
    "tied": "then improve the matching of each stream over all layers that make or read it",
    "none": "compare units of the same number",
}
"""How the units of two networks are matched."""

NULL_MODELS = ("layer", "unit", "position", "kernel", "sign", "fair-sign")
"""What random masks keep of a layer, as `null_models.py` says."""

WHEN = ("after", "before")
"""Whether activations are read after the nonlinearity that follows a layer, or before it."""
