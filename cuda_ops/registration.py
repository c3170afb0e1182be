"""Registers an op with ``torch.library``: schema, reference, shapes without data, and autograd."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from cuda_ops import backend

_LIBRARY = torch.library.Library("ganvas", "FRAGMENT")
REFERENCES: dict[str, Callable[..., Any]] = {}  # op -> the same in plain PyTorch, with the same arguments

Backward = Callable[..., Any]


def register(
    schema: str,                            # "name(Tensor x, ...) -> Tensor"; no strings, no absent numbers
    reference: Callable[..., Any],          # plain PyTorch; the result shares no memory with an argument
    fake: Callable[..., Any],               # shapes, strides and dtypes of the result, without data
    setup_context: Callable[..., None] | None = None,  # (ctx, inputs, output), by name: keeps what is needed
    backward: Backward | None = None,       # (ctx, *gradients) -> a gradient or None for each argument
) -> OpOverload:  # fmt: skip
    """Define ``ganvas::name``. The reference runs until kernels for the device are loaded, and where there are none.

    Without ``backward`` the op is differentiated as its reference is, to any order, at the price of running it again.
    """
    name = schema.split("(")[0]
    qualified, op = f"ganvas::{name}", define(schema, torch.Tag.pt2_compliant_tag)

    def default(*args: Any) -> Any:
        first = not backend.asked() and any(isinstance(arg, Tensor) and arg.is_cuda for arg in args)
        return op(*args) if first and backend.ready() else reference(*args)

    torch.library.impl(qualified, "CompositeExplicitAutograd", default, lib=_LIBRARY)
    torch.library.register_fake(qualified, fake, lib=_LIBRARY)
    if backward is None:
        setup_context, backward = _save_all, _as_reference(reference)
    torch.library.register_autograd(qualified, backward, setup_context=setup_context, lib=_LIBRARY)
    REFERENCES[name] = reference
    return op


def define(schema: str, *tags: torch.Tag) -> OpOverload:
    """Define ``ganvas::name`` without anything that runs: a library brings that."""
    name = schema.split("(")[0]
    torch.library.define(f"ganvas::{name}", schema.removeprefix(name), lib=_LIBRARY, tags=tags)
    op: OpOverload = getattr(torch.ops.ganvas, name).default
    return op


def _save_all(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*(value for value in inputs if isinstance(value, Tensor)))
    ctx.others = [None if isinstance(value, Tensor) else (value,) for value in inputs]


def _as_reference(reference: Callable[..., Any]) -> Backward:
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        higher = torch.is_grad_enabled()
        with torch.enable_grad():
            args = [as_argument(next(saved)) if other is None else other[0] for other in ctx.others]
            outputs = reference(*args)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            pairs = [(y, g) for y, g in zip(outputs, gradients, strict=True) if g is not None and y.requires_grad]
            wanted = [i for i, arg in enumerate(args) if isinstance(arg, Tensor) and arg.requires_grad]
            found = torch.autograd.grad(
                [y for y, _ in pairs], [args[i] for i in wanted], [g for _, g in pairs], create_graph=higher,
                allow_unused=True,
            )  # fmt: skip
        result: list[Tensor | None] = [None] * len(args)
        for i, gradient in zip(wanted, found, strict=True):
            result[i] = gradient
        return tuple(result)

    return backward


def as_argument(x: Tensor) -> Tensor:
    """A view, so that an argument which was computed from another one counts as an argument of its own."""
    return x.view_as(x) if x.requires_grad else x


def as_variable(x: Tensor) -> Tensor:
    """An argument that is differentiated for, whether anybody asks for the result or not."""
    return as_argument(x if x.requires_grad else x.detach().requires_grad_())


def differentiate_twice(
    form: Callable[..., Tensor], saved: Sequence[Tensor], upstream: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """The gradients of a backward pass, by a straightforward form: what a path-length penalty needs, and rare enough.

    Args:
        form: PyTorch's own operations, from the inputs.
        saved: the gradient that the backward pass had, and the inputs.
        upstream: a gradient for each gradient that it found for the inputs.
    """
    higher = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast(saved[0].device.type, enabled=False):
        grad, *inputs = (as_variable(t) for t in saved)
        first = torch.autograd.grad(form(*inputs).to(grad.dtype), inputs, grad, create_graph=True)
        return torch.autograd.grad(first, [grad, *inputs], upstream, create_graph=higher)


def without_autocast(reference: Callable[..., Any]) -> Callable[..., Any]:
    """The same on a CPU inside autocast as outside: a backward pass may run inside one, too.

    ``torch.autocast`` itself as a decorator would be one object for all threads, with one memory of what was before.
    """

    @functools.wraps(reference)
    def call(*args: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
            return reference(*args)

    return call
