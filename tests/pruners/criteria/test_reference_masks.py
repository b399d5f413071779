"""Masks of the synaptic-flow program, bit for bit: its `fc` network at 1% of its weights, scored in evaluation mode."""

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import shared
from torch import Tensor, nn

from Layers import Masks, mask_model
from Pruners import make_pruner
from Pruners.allocation import allocate
from Utils.config.target import Target


def network_and_batch() -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    archive = np.load(shared("golden/synaptic_flow_fc_init.npz"))
    sizes = [784, 100, 100, 100, 100, 100, 10]
    layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    model = mask_model(nn.Sequential(nn.Flatten(), *layers[:-1]), (1, 28, 28))
    weights = {key[6:]: torch.from_numpy(archive[key]) for key in archive.files if key.startswith("param|")}
    model.load_state_dict({**model.state_dict(), **weights})
    pixels = archive["img_u8"].transpose(0, 3, 1, 2) / 255
    images = torch.from_numpy((pixels - archive["mean"]) / archive["std"]).float()
    return model, [(images, torch.from_numpy(archive["y"]))]


@pytest.mark.parametrize(
    ("file", "pruner", "iterations"),
    [
        ("mag1", "mag", 1),
        ("snip1", "snip", 1),
        ("grasp1", "grasp", 1),
        ("synflow1", "synflow", 1),
        ("synflow100", "synflow", 100),
    ],
)
def test_masks_equal_those_of_the_original_program(file, pruner, iterations):
    model, batches = network_and_batch()
    target = Target(com_exp=Decimal(2))
    scores = make_pruner(pruner, iterations=iterations, train_mode=False).score(model, batches, target)
    masks = allocate(model, scores, target, (1, 28, 28), "direct")
    archive = np.load(shared(f"golden/synaptic_flow_fc_{file}_1e2.npz"))
    reference = {}
    for name in masks:
        shape = tuple(archive[f"{name}|shape"])
        bits = np.unpackbits(archive[f"{name}|bits"], count=int(np.prod(shape)))
        reference[name] = torch.from_numpy(bits.astype(bool)).reshape(shape)
    assert masks.kept == 1194 and masks == Masks(reference)
