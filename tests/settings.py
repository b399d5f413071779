"""One row per registry entry: what the parametrised tests run over."""

import Pruners
from Models import ARCHITECTURES
from Utils import DATASETS

ALL_PRUNERS = [name for name in Pruners.pruner_names() if name != "dense"]
"""Every combination of criterion and quota."""

NETWORKS = {name: ARCHITECTURES[name].input_shape for name in ("lenet300100", "lenet5")}
"""Architectures that are small enough for tests over every pruner, and the input that each is built for."""

PRUNABLE = {"lenet300100": (266_200, [235_200, 30_000, 1_000]), "lenet5": (61_770, [450, 2_400, 48_000, 10_080, 840])}
"""Golden fact 1: the number of prunable weights, in all and by layer."""

OFFLINE_DATA = [name for name, entry in DATASETS.items() if entry.is_embedded]
"""Data sets that need neither file nor network."""
