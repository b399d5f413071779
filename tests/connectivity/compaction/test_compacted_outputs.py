"""Compaction of random networks, of networks of every kind of connection, and of every architecture: same outputs."""

import pytest
import torch
from compacting import check, unlike_the_initial
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, make, random_masks
from random_networks import SHAPE, networks
from settings import slow_unless
from torch import nn

from Models import build
from Models.registry import ARCHITECTURES, native_shape

QUICK = ("lenet300100", "lenet5", "lottery/resnet20", "union/vgg11_bn", "gem-miner/resnet20", "conv", "mlp")
"""The smallest architecture of families."""


@settings(max_examples=150, deadline=None)
@given(networks(), st.floats(0.05, 1), st.integers(0, 2**16))
def test_random_networks_say_the_same(model, density, seed):
    model = unlike_the_initial(model, seed)
    random_masks(model, density, seed).install(model)
    check(model, SHAPE, seed)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(networks(width=6), st.floats(0.02, 1), st.integers(0, 2**16))
def test_many_random_networks_say_the_same(model, density, seed):
    model = unlike_the_initial(model, seed)
    random_masks(model, density, seed).install(model)
    check(model, SHAPE, seed)


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=25, deadline=None)
@given(density=st.floats(0.1, 1), seed=st.integers(0, 2**16))
def test_networks_of_every_kind_of_connection_say_the_same(name, density, seed):
    model, shape = make(name)
    model = unlike_the_initial(model, seed)
    random_masks(model, density, seed).install(model)
    check(model, shape, seed)


def of_architecture(name: str, seed: int, density: float) -> tuple[nn.Module, tuple[int, ...]]:
    shape = native_shape(name)[0]
    shape = (shape[0], min(shape[1], 32), min(shape[2], 32)) if not name.startswith("imagenet") else (3, 64, 64)
    model = build(name, shape, 10, generator=torch.Generator().manual_seed(seed))
    model = unlike_the_initial(model, seed)
    random_masks(model, density, seed).install(model)
    return model, shape


@pytest.mark.parametrize("name", slow_unless({"lenet300100", "lenet5"}, QUICK))
@settings(max_examples=25, deadline=None)
@given(density=st.floats(0.003, 0.3), seed=st.integers(0, 2**16))
def test_the_smallest_of_each_family_says_the_same(name, density, seed):
    check(*of_architecture(name, seed, density), seed)


LARGE = ("1202", "/wide-resnet110", "/resnet152", "/resnet101", "/wide-resnet152", "/wide-resnet101")
IMAGENET = tuple(f"imagenet/{name}" for name in (
    "mobilenet_v3_small", "densenet121", "efficientnet_b0", "regnet_y_400mf", "convnext_tiny", "shufflenet_v2_x0_5",
))  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    *(name for name in ARCHITECTURES if name not in QUICK and not name.endswith(LARGE)), *IMAGENET,
])  # fmt: skip
def test_every_architecture_says_the_same(name):
    check(*of_architecture(name, 1, 0.02))
