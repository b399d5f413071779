"""Layer collapse: the compression at which each pruner first removes all weights of a layer.

    python main.py --experiment=layer-collapse --architecture=lottery/vgg16-bn --data=cifar10 \
        --pruner random mag snip grasp synflow --sample 0 1 2

Tanaka et al. 2020: a network cannot learn once a layer is empty, which no pruner can avoid beyond the maximal
compression N / L of N weights in L layers. The critical exponent of a pruner is the largest listed one up to which no
layer is empty. For criteria of one round, which score the network once, `first_empty_at` is the exact compression.

VGG-16 takes about 10 seconds for each pruner of one round, and an hour for SynFlow, which prunes in 100 rounds to each
of 28 levels, on one core of an Intel Xeon. Three samples.
"""

from dataclasses import dataclass
from decimal import Decimal

from Experiments.theory.of_orders import EXPONENTS, OfLevels
from Utils.config.fields import setting


@dataclass(frozen=True)
class LayerCollapseOptions:
    """Compressions at which empty layers are looked for (`--experiment=layer-collapse`)."""

    exponents: tuple[Decimal, ...] | None = setting(
        None, "exponents n of compressions 10^n (default: 0, 0.25, 0.5, ... up to a single weight)", kind=Decimal,
        sequence=True, check=EXPONENTS,
    )  # fmt: skip


class LayerCollapse(OfLevels):
    """The weights that each layer keeps at rising compressions."""

    name = "layer-collapse"
    about = "find the compression at which a pruner first empties a layer"
    implementation = "Experiments.theory.runs.layer_collapse:run"
    Options = LayerCollapseOptions
    figures = ("layer-collapse",)
