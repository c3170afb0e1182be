"""Channels and precision of the blocks by resolution: the same rules for generator and discriminator."""

from __future__ import annotations

from collections.abc import Sequence

import torch

HALF_PRECISION = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def block_channels(
    img_resolution: int, channel_base: int, channel_max: int, channels: Sequence[int] | None = None
) -> dict[int, int]:
    """Resolution -> channels, from 4 to ``img_resolution``: by the rule of the papers, or as given.

    Raises:
        ValueError: if the resolution is not a power of two of at least 16, or ``channels`` are not one positive count
            for each resolution.

    Example:
        >>> block_channels(16, channel_base=256, channel_max=48)
        {4: 48, 8: 32, 16: 16}
        >>> block_channels(16, channel_base=256, channel_max=48, channels=[8, 24, 16])
        {4: 8, 8: 24, 16: 16}
    """
    if img_resolution < 16 or img_resolution & (img_resolution - 1):
        raise ValueError(f"img_resolution must be a power of two of at least 16, got {img_resolution}")
    resolutions = [2**i for i in range(2, img_resolution.bit_length())]
    if channels is None:
        return {r: min(channel_base // r, channel_max) for r in resolutions}
    if len(channels) != len(resolutions) or min(channels) < 1:
        raise ValueError(f"channels must be {len(resolutions)} positive counts, of 4, 8, ..., {img_resolution}, got "
                         f"{list(channels)}")  # fmt: skip
    return dict(zip(resolutions, channels, strict=True))


def lean_channel_base(img_resolution: int) -> int:
    """Channels times resolution for small compute: 32 channels at 64 pixels, 16 at the finest of larger images.

    Example:
        >>> [lean_channel_base(r) // r for r in (64, 128, 1024)]
        [32, 16, 16]
    """
    return max(2048, 16 * img_resolution)


def block_dtypes(img_resolution: int, num_fp16_res: int, half_dtype: str) -> dict[int, torch.dtype]:
    """Resolution -> precision of the convolutions: half in the finest ``num_fp16_res``, but never at 4x4.

    Raises:
        ValueError: if the precision is unknown.

    Example:
        >>> block_dtypes(16, 1, "bfloat16")
        {4: torch.float32, 8: torch.float32, 16: torch.bfloat16}
    """
    if half_dtype not in HALF_PRECISION:
        raise ValueError(f"half_dtype must be {' or '.join(HALF_PRECISION)}, got {half_dtype!r}")
    finest = img_resolution.bit_length() - 1
    return {
        2**i: HALF_PRECISION[half_dtype] if i > max(finest - num_fp16_res, 2) else torch.float32
        for i in range(2, finest + 1)
    }


def compute_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """What a block of this precision computes in on this device.

    Half precision of GPUs is slower on a CPU than single precision, and no more exact; as in the official stylegan3
    release, it is not used there. bfloat16, which CPUs have, stays.

    Example:
        >>> compute_dtype(torch.float16, torch.device("cpu"))
        torch.float32
    """
    return torch.float32 if dtype == torch.float16 and device.type == "cpu" else dtype
