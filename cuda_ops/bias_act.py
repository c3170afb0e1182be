"""Bias, activation, gain and clamp in one call: the tail of every StyleGAN2 layer (Karras et al. 2020, appendix B)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cuda_ops import backend
from cuda_ops.checks import check_floating, check_same_device
from cuda_ops.registration import register


class Activation(NamedTuple):
    """An activation and the gain that keeps unit variance through it (He et al. 2015)."""

    function: Callable[[Tensor, float], Tensor]  # (x, alpha) -> y
    gain: float
    alpha: float = 0.0


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda x, _: x, 1.0),
    "relu": Activation(lambda x, _: F.relu(x), math.sqrt(2)),
    "lrelu": Activation(lambda x, alpha: F.leaky_relu(x, alpha), math.sqrt(2), 0.2),
    "tanh": Activation(lambda x, _: torch.tanh(x), 1.0),
    "sigmoid": Activation(lambda x, _: torch.sigmoid(x), 1.0),
    "elu": Activation(lambda x, _: F.elu(x), 1.0),
    "selu": Activation(lambda x, _: F.selu(x), 1.0),
    "softplus": Activation(lambda x, _: F.softplus(x), 1.0),
    "swish": Activation(lambda x, _: torch.sigmoid(x) * x, math.sqrt(2)),
}


PIECEWISE_LINEAR = ("linear", "relu", "lrelu")  # their derivatives need the sign of the result, and no bias


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    dim: int = 1,
) -> Tensor:
    """``clamp(gain * act(x + bias))``.

    Args:
        x: any shape with at least ``dim + 1`` dimensions.
        bias: ``[x.shape[dim]]``, added along ``dim``.
        act: a key of ``ACTIVATIONS``.
        alpha: slope of the leaky ReLU; the activation's own by default.
        gain: factor after the activation; the activation's own by default.
        clamp: bound on the magnitude of the result; none by default.
        dim: the channel dimension.

    Returns:
        A tensor shaped as ``x``, differentiable to any order.

    Raises:
        ValueError: if the activation is unknown, an argument is out of range or the bias does not fit ``x``.

    Example:
        >>> bias_act(torch.tensor([[-1.0, 1.0]]), torch.tensor([1.0, 1.0]), act="relu", gain=1.0)
        tensor([[0., 2.]])
    """
    spec = _check(x, bias, act, alpha, clamp, dim)
    alpha = spec.alpha if alpha is None else alpha
    gain = spec.gain if gain is None else gain
    bias = None if bias is None else bias.to(x.dtype)
    if not backend.has_kernels(x):
        return _plain(x, bias, act, alpha, gain, clamp, dim)
    return BIAS_ACT(x, bias, dim % x.ndim, NAMES.index(act), alpha, gain, math.inf if clamp is None else clamp)


def _check(x: Tensor, bias: Tensor | None, act: str, alpha: float | None, clamp: float | None, dim: int) -> Activation:
    if act not in ACTIVATIONS:
        raise ValueError(f"act must be one of {sorted(ACTIVATIONS)}, got {act!r}")
    check_floating(x=x, bias=bias)
    check_same_device(x=x, bias=bias)
    if not -x.ndim <= dim < x.ndim:
        raise ValueError(f"dim must be a dimension of x, which is {list(x.shape)}, got {dim}")
    if bias is not None and (bias.ndim != 1 or bias.shape[0] != x.shape[dim]):
        raise ValueError(f"bias must be [{x.shape[dim]}] for dim {dim} of {list(x.shape)}, got {list(bias.shape)}")
    if alpha is not None and (act != "lrelu" or alpha < 0):
        raise ValueError(f"alpha must be a slope of lrelu of 0 or more, got {alpha} for {act}")
    if clamp is not None and clamp < 0:
        raise ValueError(f"clamp must be 0 or more, got {clamp}")
    return ACTIVATIONS[act]


def _plain(
    x: Tensor, bias: Tensor | None, act: str, alpha: float, gain: float, clamp: float | None, dim: int
) -> Tensor:
    """In plain PyTorch, which differentiates it to any order."""
    if bias is not None:
        x = x + _along(bias, dim, x)
    x = ACTIVATIONS[act].function(x, alpha)
    if gain != 1:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def _along(bias: Tensor, dim: int, x: Tensor) -> Tensor:
    shape = [1] * x.ndim
    shape[dim] = -1
    return bias.reshape(shape)


# The registered ops. `act` is a number in the order of NAMES, and `clamp` is infinite for none: the kernels' types.

NAMES = list(ACTIVATIONS)


def _reference(x: Tensor, bias: Tensor | None, dim: int, act: int, alpha: float, gain: float, clamp: float) -> Tensor:
    y = _plain(x, bias, NAMES[act], alpha, gain, clamp, dim)
    return y.clone() if y is x else y


def _fake(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x)


def _fake_of_second(_: Tensor, x: Tensor, *__: Any) -> Tensor:
    return torch.empty_like(x)


def _fake_of_third(_: Tensor, __: Tensor, x: Tensor, *___: Any) -> Tensor:
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """The least that the derivative needs: y or nothing for a piecewise linear activation, else x and the bias."""
    x, bias, ctx.dim, ctx.act, ctx.alpha, ctx.gain, ctx.clamp = inputs
    ctx.has_bias, ctx.name = bias is not None, NAMES[ctx.act]
    if ctx.name == "linear" and ctx.clamp == math.inf:
        ctx.save_for_backward(None, None)
    elif ctx.name in PIECEWISE_LINEAR:
        ctx.save_for_backward(output, None)
    else:
        ctx.save_for_backward(x, bias)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    reference, bias = ctx.saved_tensors
    settings = (ctx.dim, ctx.act, ctx.alpha, ctx.gain, ctx.clamp)
    of_bias = ctx.has_bias and ctx.needs_input_grad[1]
    if of_bias and reference is not None and ctx.name in PIECEWISE_LINEAR:
        return *BIAS_ACT_BACKWARD_WITH_BIAS(dy, reference, *settings), *[None] * 5
    if reference is None:
        dx = dy if ctx.gain == 1 else BIAS_ACT(dy, None, *settings)
    else:
        dx = BIAS_ACT_BACKWARD(dy, reference, bias, *settings)
    return dx, _sum_to_bias(dx, ctx.dim) if of_bias else None, *[None] * 5


def _sum_to_bias(dx: Tensor, dim: int) -> Tensor:
    others = [i for i in range(dx.ndim) if i != dim]
    return dx.sum(others) if others else dx.clone()  # no dimensions would mean all


BIAS_ACT = register(
    "bias_act(Tensor x, Tensor? bias, int dim, int act, float alpha, float gain, float clamp) -> Tensor",
    _reference, _fake, _keep, _backward,
)  # fmt: skip


def _sigmoid_slopes(z: Tensor) -> tuple[Tensor, Tensor]:
    s = torch.sigmoid(z)
    return s * (1 - s), s * (1 - s) * (1 - 2 * s)


def _tanh_slopes(z: Tensor) -> tuple[Tensor, Tensor]:
    t = torch.tanh(z)
    return 1 - t * t, -2 * t * (1 - t * t)


def _elu_slopes(z: Tensor, alpha: float = 1.0, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    below = scale * alpha * torch.exp(z.clamp(max=0))
    return torch.where(z > 0, scale, below), torch.where(z > 0, 0.0, below)


def _swish_slopes(z: Tensor) -> tuple[Tensor, Tensor]:
    s = torch.sigmoid(z)
    return s * (1 + z * (1 - s)), s * (1 - s) * (2 + z * (1 - 2 * s))


# First and second derivatives of the smooth activations.
SLOPES: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "tanh": _tanh_slopes,
    "sigmoid": _sigmoid_slopes,
    "elu": _elu_slopes,
    "selu": lambda z: _elu_slopes(z, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946),
    "softplus": lambda z: (torch.sigmoid(z), _sigmoid_slopes(z)[0]),
    "swish": _swish_slopes,
}


def _slope(
    order: int, reference: Tensor, bias: Tensor | None, dim: int, act: int, alpha: float, gain: float, clamp: float
) -> Tensor:
    """A derivative of y for x, from y for piecewise linear activations, and else from x and the bias."""
    name = NAMES[act]
    if name in PIECEWISE_LINEAR:
        alpha = {"linear": 1.0, "relu": 0.0}.get(name, alpha)
        above, below, bound = (reference.new_tensor(value) for value in (gain, gain * alpha, clamp))
        positive = reference > 0 if gain >= 0 else reference < 0
        return torch.where(reference.abs() < bound, torch.where(positive, above, below), 0.0)
    z = reference if bias is None else reference + _along(bias, dim, reference)
    y = ACTIVATIONS[name].function(z, alpha) * gain
    return torch.where(y.abs() > clamp, 0.0, SLOPES[name](z)[order - 1] * gain)


def _backward_reference(dy: Tensor, reference: Tensor, *settings: Any) -> Tensor:
    return torch.empty_like(reference).copy_(dy * _slope(1, reference, *settings))


def _double_backward_reference(ddx: Tensor, dy: Tensor, x: Tensor, *settings: Any) -> Tensor:
    return torch.empty_like(x).copy_(ddx * dy * _slope(2, x, *settings))


def _keep_for_second(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    dy, reference, bias, *ctx.settings = inputs
    ctx.dim, ctx.name = ctx.settings[0], NAMES[ctx.settings[1]]
    ctx.save_for_backward(None if ctx.name in PIECEWISE_LINEAR else dy, reference, bias)


def _second_backward(ctx: Any, ddx: Tensor) -> tuple[Tensor | None, ...]:
    dy, reference, bias = ctx.saved_tensors
    of_dy = BIAS_ACT_BACKWARD(ddx, reference, bias, *ctx.settings) if ctx.needs_input_grad[0] else None
    of_x = of_bias = None
    if dy is not None and any(ctx.needs_input_grad[1:3]):
        of_x = BIAS_ACT_DOUBLE_BACKWARD(ddx, dy, reference, bias, *ctx.settings)
        of_bias = _sum_to_bias(of_x, ctx.dim) if bias is not None else None
    return of_dy, of_x, of_bias, *[None] * 5


BIAS_ACT_BACKWARD = register(
    "bias_act_backward(Tensor dy, Tensor reference, Tensor? bias, int dim, int act, float alpha, float gain, "
    "float clamp) -> Tensor",
    _backward_reference, _fake_of_second, _keep_for_second, _second_backward,
)  # fmt: skip


def _with_bias_reference(dy: Tensor, y: Tensor, dim: int, *settings: Any) -> tuple[Tensor, Tensor]:
    dx = _backward_reference(dy, y, None, dim, *settings)
    return dx, _sum_to_bias(dx, dim)


def _fake_with_bias(dy: Tensor, y: Tensor, dim: int, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(y), y.new_empty(y.shape[dim])


def _keep_with_bias(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, y, *ctx.settings = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(y)


def _second_backward_with_bias(ctx: Any, ddx: Tensor | None, ddb: Tensor | None) -> tuple[Tensor | None, ...]:
    (y,) = ctx.saved_tensors
    if ddb is not None:
        wide = _along(ddb, ctx.settings[0], y)
        ddx = wide.expand_as(y) if ddx is None else ddx + wide
    of_dy = None if ddx is None else BIAS_ACT_BACKWARD(ddx, y, None, *ctx.settings)
    return of_dy, *[None] * 6


# For piecewise linear activations: the gradients for x and the bias, in one pass over memory.
BIAS_ACT_BACKWARD_WITH_BIAS = register(
    "bias_act_backward_with_bias(Tensor dy, Tensor y, int dim, int act, float alpha, float gain, float clamp) "
    "-> (Tensor, Tensor)",
    _with_bias_reference, _fake_with_bias, _keep_with_bias, _second_backward_with_bias,
)  # fmt: skip

BIAS_ACT_DOUBLE_BACKWARD = register(
    "bias_act_double_backward(Tensor ddx, Tensor dy, Tensor x, Tensor? bias, int dim, int act, float alpha, "
    "float gain, float clamp) -> Tensor",
    _double_backward_reference, _fake_of_third,
)  # fmt: skip
