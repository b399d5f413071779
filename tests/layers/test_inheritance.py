"""Methods of a subclass that are, or are not, those of its base class."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Layers.inheritance import differing_method, same_method


class Base:
    def forward(self, x: float, scale: float = 2.0) -> float:
        """The original."""
        return math.sqrt(x) * scale + 1.0


class Inherited(Base):
    pass


class Repeated(Base):
    def forward(self, value: float, factor: float = 2.0) -> float:
        # Names of arguments, comments and docstrings do not matter.
        return math.sqrt(value) * factor + 1.0


class OtherConstant(Base):
    def forward(self, x: float, scale: float = 2.0) -> float:
        return math.sqrt(x) * scale + 1


class OtherDefault(Base):
    def forward(self, x: float, scale: float = 3.0) -> float:
        return math.sqrt(x) * scale + 1.0


class OtherFunction(Base):
    def forward(self, x: float, scale: float = 2.0) -> float:
        return math.exp(x) * scale + 1.0


class OtherArguments(Base):
    def forward(self, x: float, *scale: float) -> float:
        return math.sqrt(x) * scale + 1.0  # type: ignore[operator]


class Super(Base):
    def forward(self, x: float, scale: float = 2.0) -> float:
        return super().forward(x, scale)


class NoFunction(Base):
    forward = math.sqrt  # type: ignore[assignment]


@pytest.mark.parametrize("kind", [Base, Inherited, Repeated])
def test_the_same_code_is_the_same_method(kind):
    assert same_method(kind, Base, "forward") and differing_method(kind, Base) is None


@pytest.mark.parametrize("kind", [OtherConstant, OtherDefault, OtherFunction, OtherArguments, Super, NoFunction])
def test_other_code_is_another_method(kind):
    assert not same_method(kind, Base, "forward") and differing_method(kind, Base) == "forward"


def test_a_name_that_means_something_else_in_another_module_differs():
    variables = {"math": torch}
    exec("def forward(self, x, scale=2.0):\n    return math.sqrt(x) * scale + 1.0\n", variables)
    assert not same_method(type("Other", (Base,), {"forward": variables["forward"]}), Base, "forward")


def test_variables_of_an_enclosing_function_differ():
    def make(factor: float) -> type:
        class Scaled(nn.Linear):
            def forward(self, input: Tensor) -> Tensor:
                return F.linear(input, self.weight, self.bias) * factor

        return Scaled

    assert not same_method(make(1.0), make(2.0), "forward")


def test_a_method_that_neither_class_has_is_the_same():
    assert same_method(nn.Linear, nn.ReLU, "_conv_forward")
    assert differing_method(nn.Conv2d, nn.Linear) == "forward"
