"""Quotas: the density that each layer keeps under different pruners at the same compression.

    python main.py --experiment=quotas --architecture=vgg16 --data=cifar10 \
        --pruner random/uniform random/uniform_plus random/erk random/igq snip synflow

Quotas such as ERK (Evci et al. 2020) and IGQ (Vysogorets & Kempe 2023) set densities by the sizes of layers; criteria
whose weights compete globally, such as SNIP and SynFlow, set them by their scores.

VGG-16 takes a few seconds for each pruner of one round, and two minutes for each level of SynFlow, on one core of an
Intel Xeon. One sample.
"""

from dataclasses import dataclass
from decimal import Decimal

from Experiments.theory.of_orders import EXPONENTS, OfLevels
from Utils.config.fields import setting


@dataclass(frozen=True)
class QuotasOptions:
    """Compressions at which layers are compared (`--experiment=quotas`)."""

    exponents: tuple[Decimal, ...] = setting(
        (Decimal(1), Decimal(2), Decimal(3)), "exponents n of compressions 10^n", kind=Decimal, sequence=True,
        check=EXPONENTS,
    )  # fmt: skip


class Quotas(OfLevels):
    """The density of each layer at chosen compressions."""

    name = "quotas"
    about = "compare the densities that pruners give each layer"
    implementation = "Experiments.theory.runs.quotas:run"
    Options = QuotasOptions
    figures = ("quotas",)
