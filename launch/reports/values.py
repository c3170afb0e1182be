"""A measured value as people read it: its mean, its deviation, and as many digits as mean something."""

from __future__ import annotations

import math
from typing import NamedTuple


class Value(NamedTuple):
    """What the seeds of an arm gave."""

    mean: float
    deviation: float | None   # standard deviation of the sample; None for one seed
    n: int                    # of seeds

    def __str__(self) -> str:
        shown = digits(self.mean)
        return shown if self.deviation is None else f"{shown} ± {digits(self.deviation, self.mean)}"


def digits(value: float, beside: float | None = None) -> str:
    """A number with as many digits as mean something; a deviation with those of the number that it stands ``beside``.

    Example:
        >>> digits(0.71234), digits(29.5123), digits(12345.6), digits(0.00123), digits(0.0041, beside=0.71234)
        ('0.712', '29.51', '12346', '0.00123', '0.004')
    """
    return f"{value:.{_decimals(abs(value if beside is None else beside))}f}"


def _decimals(size: float) -> int:
    if size >= 1000 or size == 0:
        return 0
    return max(2 - math.floor(math.log10(size)), 1 if size >= 100 else 2)
