"""Checks that every op makes of its arguments, the same on every backend."""

from __future__ import annotations

import torch
from torch import Tensor

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_floating(**tensors: Tensor | None) -> None:
    """Each tensor is of a floating type.

    Raises:
        ValueError: naming the first that is not.
    """
    for name, tensor in tensors.items():
        if tensor is not None and tensor.dtype not in DTYPES:
            raise ValueError(f"{name} must be float16, bfloat16, float32 or float64, got {_type(tensor)}")


def check_same_device(**tensors: Tensor | None) -> None:
    """All tensors are on the device of the first.

    Raises:
        ValueError: naming the first that is not.
    """
    (first, leader), *others = ((name, tensor) for name, tensor in tensors.items() if tensor is not None)
    for name, tensor in others:
        if tensor.device != leader.device:
            raise ValueError(f"{name} must be on {leader.device}, as {first} is, got {tensor.device}")


def check_same_dtype(**tensors: Tensor | None) -> None:
    """All tensors have the type of the first.

    Raises:
        ValueError: naming the first that has not.
    """
    (first, leader), *others = ((name, tensor) for name, tensor in tensors.items() if tensor is not None)
    for name, tensor in others:
        if tensor.dtype != leader.dtype:
            raise ValueError(f"{name} must be {_type(leader)}, as {first} is, got {_type(tensor)}")


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def is_channels_last(x: Tensor) -> bool:
    """Whether that is the layout of ``[N, C, H, W]``, and the usual one is not as well."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
