"""Elementwise functions of one tensor: modules, functions and names of tensor methods."""

import operator

import torch
import torch.nn.functional as F
from torch import nn

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Sigmoid, nn.LogSigmoid, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink,
    nn.Softplus, nn.Softsign, nn.Threshold,
)  # fmt: skip


ACTIVATION_FUNCTIONS = (
    F.relu, F.relu_, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.tanh, F.sigmoid,
    F.logsigmoid, F.hardsigmoid, F.hardswish, F.hardtanh, F.softplus, F.softsign, F.tanhshrink, F.hardshrink,
    F.softshrink, F.threshold, torch.relu, torch.relu_, torch.tanh, torch.sigmoid, "relu", "relu_", "tanh", "sigmoid",
)  # fmt: skip


ELEMENTWISE_ARITHMETIC = (
    torch.abs, torch.exp, torch.sqrt, torch.square, torch.pow, torch.clamp, operator.pow, "abs", "exp", "sqrt",
    "square", "pow", "clamp",
)  # fmt: skip
