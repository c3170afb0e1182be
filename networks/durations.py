"""Times in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A time as people say it.

    Example:
        >>> duration(12_000), duration(90), duration(7.4), duration(200_000)
        ('3 h 20 min', '2 min', '7 s', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    days, rest = divmod(hours, 24)
    if days:
        return f"{days} d {rest} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
