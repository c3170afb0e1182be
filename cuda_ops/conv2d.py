"""A convolution that keeps the resolution or doubles it, by the library's kernels and on a CPU by minimal filtering."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from cuda_ops.conv3x3 import conv3x3
from cuda_ops.upfirdn2d import filter2d


def conv2d(x: Tensor, weight: Tensor, resample_filter: Tensor | None = None) -> Tensor:
    """Convolution without bias, zeros around; with a low-pass filter at twice the resolution (Karras et al. 2020).

    Args:
        x: ``[N, I, H, W]``.
        weight: ``[O, I, k, k]``, k odd.
        resample_filter: ``[taps, taps]``, an even side.

    Returns:
        ``[N, O, H, W]``, with the filter ``[N, O, 2H, 2W]``.
    """
    k = weight.shape[-1]
    if resample_filter is None:
        return conv3x3(x, weight) if k == 3 else F.conv2d(x, weight, padding=k // 2)
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # [.., 2H+1, 2W+1] for k = 3
    # The filter's padding makes the result exactly 2H: p = (taps + 1 - k) / 2 on each side.
    return filter2d(x, resample_filter, padding=(resample_filter.shape[0] + 1 - k) // 2, gain=4.0)
