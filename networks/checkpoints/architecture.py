"""Constructor arguments that foreign checkpoints do not state, read off the shapes of their weights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any


def count_names(names: Iterable[str], pattern: str) -> int:
    r"""How many names of weights match a pattern as a whole.

    Example:
        >>> count_names(["fc0.weight", "fc1.weight", "fc1.bias"], r"fc\d+\.weight")
        2
    """
    return sum(re.fullmatch(pattern, name) is not None for name in names)


def residual_stages(shapes: Mapping[str, Sequence[int]]) -> tuple[list[int], list[int]]:
    """Channels and number of blocks of each stage of a residual network of ArcFace's kind, ``body.<i>.res_layer.*``.

    Raises:
        KeyError: if a block in between is missing.

    Example:
        >>> residual_stages({f"body.{i}.res_layer.1.weight": [c, 8, 3, 3] for i, c in enumerate([8, 8, 16])})
        ([8, 16], [2, 1])
    """
    blocks = count_names(shapes, r"body\.\d+\.res_layer\.1\.weight")
    widths = (shapes[f"body.{i}.res_layer.1.weight"][0] for i in range(blocks))
    stages = [(width, len(list(same))) for width, same in groupby(widths)]
    return [width for width, _ in stages], [count for _, count in stages]


def channel_rule(channels: Mapping[int, int]) -> dict[str, int]:
    """``channel_base`` and ``channel_max`` that give these channels: ``min(channel_base // resolution, channel_max)``.

    They are the smallest such numbers, where more than two will do: no power of two need divide the original's.

    Args:
        channels: resolution -> channels, from 4 up.

    Raises:
        ValueError: if no two numbers give them.

    Example:
        >>> channel_rule({4: 512, 8: 512, 16: 512, 32: 512, 64: 256})
        {'channel_base': 16384, 'channel_max': 512}
    """
    # A base that gives these channels is never below this one, and this one is never too small for any of them.
    base, largest = max(count * resolution for resolution, count in channels.items()), max(channels.values())
    if any(count != min(base // resolution, largest) for resolution, count in channels.items()):
        raise ValueError(f"the channels {', '.join(map(str, channels.values()))} follow no rule that StyleGAN2 has")
    return {"channel_base": base, "channel_max": largest}


def channel_arguments(channels: Mapping[int, int]) -> dict[str, Any]:
    """The rule that gives these channels or, where there is none, the channels themselves.

    Example:
        >>> channel_arguments({4: 512, 8: 512, 16: 512, 32: 512, 64: 768})
        {'channels': [512, 512, 512, 512, 768]}
    """
    try:
        return channel_rule(channels)
    except ValueError:
        return {"channels": [channels[resolution] for resolution in sorted(channels)]}
