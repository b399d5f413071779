"""Conservation of scores by layers: the average score of a layer against the inverse of its size.

    python main.py --experiment=layer-conservation --architecture=imagenet/vgg19 --pruner random mag snip grasp synflow

Tanaka et al. 2020 (figure 4): if every layer has the same total score, the average score of a layer is inversely
proportional to its size, and pruning the lowest scores empties the largest layer first. The unpruned network is scored
once, biases too, in double precision. `layer_scores.csv` has a row for each layer; `slope` and `correlation` in
`summary.csv` are those of the logarithms.

Takes seconds for networks at 32x32. VGG-19 at 224x224 with 16 images takes minutes on one core of an Intel Xeon: 1 for
SynFlow, 4 for SNIP, 15 for GraSP, which needs the most memory, 11 GiB.
"""

from Experiments.theory.of_scores import OfRawScores


class LayerConservation(OfRawScores):
    """Whether all layers have the same total score."""

    name = "layer-conservation"
    about = "the average score of each layer of an untrained network against the inverse of its size"
    implementation = "Experiments.theory.runs.layer_conservation:run"
    figures = ("layer-conservation",)
