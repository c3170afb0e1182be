"""Constructor arguments read off the shapes of weights."""

from __future__ import annotations

import random

import pytest

from networks.checkpoints.architecture import channel_arguments, channel_rule
from networks.stylegan2.resolutions import block_channels


@pytest.mark.parametrize(("size", "base", "largest"), [(256, 12000, 512), (1024, 20000, 512), (16, 1000, 48)])
def test_a_base_that_no_power_of_two_divides(size: int, base: int, largest: int) -> None:
    channels = block_channels(size, base, largest)
    assert block_channels(size, **channel_rule(channels)) == channels


def test_every_rule_is_found_again_from_its_channels() -> None:
    draw = random.Random(0)
    for _ in range(2000):
        size, largest = 2 ** draw.randint(4, 11), draw.randint(1, 2048)
        base = draw.randint(size, 2 ** draw.randint(size.bit_length(), 20))
        channels = block_channels(size, base, largest)
        found = channel_rule(channels)
        assert block_channels(size, **found) == channels
        assert found["channel_base"] <= base


@pytest.mark.parametrize("channels", [{4: 16, 8: 16, 16: 7, 32: 8}, {4: 512, 8: 512, 16: 512, 32: 512, 64: 768}])
def test_channels_that_no_rule_gives(channels: dict[int, int]) -> None:
    with pytest.raises(ValueError, match=r"the channels .*, \d+ follow no rule"):
        channel_rule(channels)
    assert block_channels(max(channels), 1, 1, **channel_arguments(channels)) == channels
