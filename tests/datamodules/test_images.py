"""The stream of training images: its order, its resumption, its range."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datamodules.images import ShuffledImages
from networks.checkpoints.errors import GanvasError

IMAGES = torch.arange(7, dtype=torch.uint8).reshape(7, 1, 1, 1)


def seen(count: int, batch_size: int, seed: int = 0, start: int = 0) -> list[int]:
    """The first ``count`` images of a stream, by number."""
    batches: list[Tensor] = list(islice(ShuffledImages(IMAGES, batch_size, seed, start), -(-count // batch_size)))
    return [round((value + 1) * 127.5) for value in torch.cat(batches).flatten().tolist()][:count]


def test_each_epoch_shows_every_image_once_in_another_order() -> None:
    order = seen(21, batch_size=3)
    epochs = [order[i : i + 7] for i in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_order_depends_on_the_seed_and_on_nothing_else() -> None:
    torch.manual_seed(1)
    first = seen(21, batch_size=3)
    torch.manual_seed(2)
    assert seen(21, batch_size=5) == first
    assert seen(21, batch_size=3, seed=1) != first


@settings(deadline=None)
@given(start=st.integers(0, 30), batch_size=st.integers(1, 9))
def test_start_goes_on_exactly_there(start: int, batch_size: int) -> None:
    assert seen(20, batch_size, start=start) == seen(start + 20, batch_size=1)[start:]


def test_values_span_minus_one_to_one() -> None:
    extremes = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 3, 4, 4)
    batch = next(iter(ShuffledImages(extremes, 2, seed=0)))
    assert batch.shape == (2, 3, 4, 4)
    assert (batch.dtype, batch.min().item(), batch.max().item()) == (torch.float32, -1.0, 1.0)


def test_one_image_is_too_few() -> None:
    with pytest.raises(GanvasError, match="a GAN needs at least 2 images to train on, got 1"):
        ShuffledImages(IMAGES[:1], 1, seed=0)
