"""Conservation of scores by units: the scores that enter each hidden unit against those that leave it.

    python main.py --experiment=unit-conservation --architecture=imagenet/vgg19 --pruner random mag snip grasp synflow

Tanaka et al. 2020 (figure 3): if activations are homogeneous, the sum of w dR/dw over the weights and biases into a
unit equals that over the weights that read it, for any function R of the outputs. So it is for SynFlow; SNIP takes
absolute values. The unpruned network is scored once, biases and shifts too, in double precision. `unit_scores.csv` has
a row for each hidden unit or channel; units that meet in a residual sum count as one.

Takes seconds for networks at 32x32; VGG-19 at 224x224 takes as long as with `layer-conservation`.
"""

from Experiments.theory.of_scores import OfRawScores


class UnitConservation(OfRawScores):
    """Whether as much score enters each hidden unit as leaves it."""

    name = "unit-conservation"
    about = "the scores that enter each hidden unit of an untrained network against those that leave it"
    implementation = "Experiments.theory.runs.unit_conservation:run"
    figures = ("unit-conservation",)
