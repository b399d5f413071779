"""Moving: calls that move what stays of a tensor to what stays of the result, found by trial and proved by indices.

The entries of the input are numbered. A call is right if it moves the numbers that stay to where the operation of the
masked network has them.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from Utils.connectivity.ops.rewrite import CannotMoveError, Rewrite, chosen

_SHAPED = {"view", "reshape", "expand"}
"""Functions whose further arguments are a shape."""


class _Candidate(NamedTuple):
    """A call that may be right: its result for the numbers that stay, and the node that it becomes."""

    result: Callable[[Tensor], Any]
    emit: Callable[[], fx.Node]


def move(rewrite: Rewrite) -> fx.Node:
    """Add a call to the new graph; raises `CannotMoveError` if none is found."""
    value = rewrite.values[0]
    # float64, because padding does not support integers; 0 is what padding adds.
    numbers = torch.arange(1, value.numel() + 1, dtype=torch.float64).reshape(value.shape)
    node, (axes,) = rewrite.node, rewrite.inputs[0]
    target = node.target if rewrite.module is None else rewrite.module
    moved = _parts(_apply(target, numbers, *rewrite.concrete((node.args[1:], node.kwargs), False)))
    expected = [chosen(part, own) for part, own in zip(moved, rewrite.output, strict=True)]
    small = chosen(numbers, axes)
    for candidate in _candidates(rewrite, small, expected):
        try:
            found = _parts(candidate.result(small))
        except (RuntimeError, IndexError, TypeError, ValueError):  # shapes that do not fit
            continue
        if len(found) == len(expected) and all(map(torch.equal, found, expected)):
            return candidate.emit()
    raise CannotMoveError


def _candidates(rewrite: Rewrite, small: Tensor, expected: list[Tensor]) -> Iterator[_Candidate]:
    """The same call; one with the sizes of what stays; one that picks entries along one axis."""
    node, (source, *rest), kwargs = rewrite.node, rewrite.args, rewrite.kwargs

    def call(kind: str, target: Any, rest: tuple, kwargs: dict) -> _Candidate:
        own = rewrite.module if kind == "call_module" else target
        return _Candidate(
            lambda value: _apply(own, value, *rewrite.concrete((rest, kwargs), True)),
            lambda: rewrite.add_call(kind, target, (source, *rest), kwargs),
        )

    yield call(node.op, node.target, tuple(rest), kwargs)
    name, sizes = getattr(node.target, "__name__", node.target), [list(part.shape) for part in expected]
    if name in _SHAPED:
        yield call("call_method", name, _with_sizes(_shape_of(tuple(rest), kwargs), sizes[0]), {})
    if name == "unflatten" or isinstance(rewrite.module, nn.Unflatten):
        axis: Any = rewrite.module.dim if isinstance(rewrite.module, nn.Unflatten) else rest[0]
        count = len(sizes[0]) - small.dim() + 1
        yield call("call_method", "unflatten", (axis, tuple(sizes[0][axis : axis + count])), {})
    for axis in range(1, small.dim()):  # all images stay
        if len(expected) > 1:
            yield call("call_function", torch.split, ([size[axis] for size in sizes],), {"dim": axis})
        elif small.numel() and expected[0].dim() == small.dim():
            indices = _indices(small, expected[0], axis)
            if indices is not None:
                yield _Candidate(
                    lambda value, axis=axis, indices=indices: value.index_select(axis, indices),
                    lambda axis=axis, indices=indices: rewrite.add_selection(axis, indices),
                )


def _apply(target: Any, value: Tensor, rest: tuple, kwargs: dict) -> Any:
    if isinstance(target, str):
        return getattr(value, target)(*rest, **kwargs)
    return target(value, *rest, **kwargs)


def _shape_of(rest: tuple, kwargs: dict) -> tuple:
    shape = rest or tuple(kwargs.values())
    return tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], list | tuple) else shape


def _with_sizes(shape: tuple, sizes: list[int]) -> tuple:
    """A shape with other numbers, where it has numbers other than -1."""
    return tuple(size if isinstance(own, int) and own != -1 else own for own, size in zip(shape, sizes, strict=False))


def _indices(small: Tensor, expected: Tensor, axis: int) -> Tensor | None:
    """The places along an axis from which the result may come, by their first entries; None if there are none."""
    known, wanted = (tensor.transpose(0, axis).flatten(1)[:, 0].tolist() for tensor in (small, expected))
    places = {number: place for place, number in enumerate(known)}
    return torch.tensor([places[number] for number in wanted]) if set(wanted) <= places.keys() else None


def _parts(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else list(value)
