"""Inherited behaviour: whether a subclass computes what its base class computes.

A method that was written again with the same code counts as inherited, as in a copy of a layer that only adds an
attribute. The compiled code is compared, so that comments, line breaks and docstrings do not matter.
"""

import dis
import inspect
from types import CodeType, FunctionType
from typing import Any

_FORWARD_METHODS = ("forward", "_conv_forward")
"""The methods that decide what a layer computes."""

_ARGUMENT_FLAGS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


def same_method(kind: type, base: type, name: str) -> bool:
    """Whether the method `name` of two classes is the same function, or has the same compiled code.

    Also true if neither class has such a method. Methods that use other globals, defaults or enclosing variables
    differ, and so does `super()`, which depends on the class.
    """
    method, original = getattr(kind, name, None), getattr(base, name, None)
    if method is original:
        return True
    if not isinstance(method, FunctionType) or not isinstance(original, FunctionType):
        return False
    return _behaviour(method) == _behaviour(original) and not method.__code__.co_freevars


def differing_method(kind: type, base: type) -> str | None:
    """The name of a method by which a subclass computes something else than its base, or None if there is none."""
    return next((name for name in _FORWARD_METHODS if not same_method(kind, base, name)), None)


def _behaviour(function: FunctionType) -> tuple[Any, ...]:
    code = function.__code__
    # The index of a constant depends on whether there is a docstring, so constants are compared by value, with their
    # types because 1 == 1.0 == True.
    steps = [
        (step.opcode, type(step.argval), step.argval) if step.opcode in dis.hasconst else (step.opcode, step.arg)
        for step in dis.get_instructions(code)
    ]
    variables = {name: id(function.__globals__.get(name)) for name in _global_names(code)}
    arguments = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _ARGUMENT_FLAGS
    return steps, code.co_names, arguments, function.__defaults__, function.__kwdefaults__, variables


def _global_names(code: CodeType) -> set[str]:
    return {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
