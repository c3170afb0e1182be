"""Bias, activation, gain and clamp in one call: the tail of every StyleGAN2 layer (Karras et al. 2020, appendix B)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


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
        A tensor shaped as ``x``.

    Raises:
        ValueError: if the activation is unknown or the bias does not fit ``x``.

    Example:
        >>> bias_act(torch.tensor([[-1.0, 1.0]]), torch.tensor([1.0, 1.0]), act="relu", gain=1.0)
        tensor([[0., 2.]])
    """
    if act not in ACTIVATIONS:
        raise ValueError(f"act must be one of {sorted(ACTIVATIONS)}, got {act!r}")
    spec = ACTIVATIONS[act]
    if bias is not None:
        if bias.ndim != 1 or bias.shape[0] != x.shape[dim]:
            raise ValueError(f"bias must be [{x.shape[dim]}] for dim {dim} of {list(x.shape)}, got {list(bias.shape)}")
        x = x + bias.to(x.dtype).reshape([-1 if i == dim else 1 for i in range(x.ndim)])
    x = spec.function(x, spec.alpha if alpha is None else alpha)
    gain = spec.gain if gain is None else gain
    if gain != 1:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)
