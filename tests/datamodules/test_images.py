"""The stream of training images: its order, its resumption, its range, mirrored images and labels."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.images import ImageBatch, ImageSet, ShuffledImages
from networks.checkpoints.errors import GanvasError

PIXELS = np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1)


def batches(images: ImageSet, count: int, batch_size: int, seed: int = 0, start: int = 0) -> list[ImageBatch]:
    return list(islice(ShuffledImages(images, batch_size, seed, start), -(-count // batch_size)))


def pixels(found: list[ImageBatch]) -> torch.Tensor:
    return ((torch.cat([batch.images for batch in found]) + 1) * 127.5).round().long()


def seen(count: int, batch_size: int, seed: int = 0, start: int = 0) -> list[int]:
    """The first ``count`` images of a stream, by number."""
    return pixels(batches(ImageSet(PIXELS), count, batch_size, seed, start)).flatten().tolist()[:count]


def test_each_epoch_shows_every_image_once_in_another_order() -> None:
    order = seen(21, batch_size=3)
    epochs = [order[i : i + 7] for i in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_devices_share_the_batches_of_one() -> None:
    whole = batches(ImageSet(PIXELS), 24, batch_size=6, start=2)
    streams = [ShuffledImages(ImageSet(PIXELS), 6, 0, 2, rank, 3) for rank in range(3)]
    for batch, *parts in zip(whole, *streams, strict=False):
        assert torch.cat([part.images for part in parts]).equal(batch.images)


def test_order_depends_on_the_seed_and_on_nothing_else() -> None:
    torch.manual_seed(1)
    first = seen(21, batch_size=3)
    torch.manual_seed(2)
    assert seen(21, batch_size=5) == first
    assert seen(21, batch_size=3, seed=1) != first


@settings(deadline=None)
@given(start=st.integers(0, 30), batch_size=st.integers(1, 9), mirror=st.booleans())
def test_start_goes_on_exactly_there(start: int, batch_size: int, mirror: bool) -> None:
    images = ImageSet(np.arange(14, dtype=np.uint8).reshape(7, 1, 1, 2), np.eye(7, dtype=np.float32), mirror=mirror)
    whole, resumed = batches(images, start + 20, 1), batches(images, 20, batch_size, start=start)
    assert torch.equal(pixels(resumed)[:20], pixels(whole)[start:])
    labels = [torch.cat([batch.labels for batch in part]) for part in (resumed, whole)]
    assert torch.equal(labels[0][:20], labels[1][start:])


def test_an_epoch_with_mirrored_images_shows_each_once_each_way_with_its_label() -> None:
    images = ImageSet(np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2), np.eye(3, dtype=np.float32), mirror=True)
    assert (len(images), images.c_dim) == (6, 3)
    (batch,) = batches(images, 6, 6)
    shown = {(tuple(image.flatten().tolist()), int(label.argmax()))
             for image, label in zip(pixels([batch]), batch.labels, strict=True)}  # fmt: skip
    assert shown == {
        ((0, 1, 2, 3), 0), ((4, 5, 6, 7), 1), ((8, 9, 10, 11), 2),
        ((1, 0, 3, 2), 0), ((5, 4, 7, 6), 1), ((9, 8, 11, 10), 2),
    }  # fmt: skip
    # They are shuffled among the others, not shown after them.
    order = np.random.default_rng([0, 0]).permutation(6)
    assert [int(image[0, 0, 0] > image[0, 0, 1]) for image in batch.images] == [int(i >= 3) for i in order]


def test_values_span_minus_one_to_one_and_labels_are_none_without_any() -> None:
    extremes = np.broadcast_to(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1), (2, 3, 4, 4))
    images, labels = next(iter(ShuffledImages(ImageSet(extremes), 2, seed=0)))
    assert images.shape == (2, 3, 4, 4)
    assert (images.dtype, images.min().item(), images.max().item()) == (torch.float32, -1.0, 1.0)
    assert labels is None
    assert ImageSet(extremes).c_dim == 0


def test_one_image_is_too_few() -> None:
    with pytest.raises(GanvasError, match="a GAN needs at least 2 images to train on, got 1"):
        ImageSet(PIXELS[:1], mirror=True)


def test_labels_of_another_number_of_images_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="7 images must have as many labels, got 3"):
        ImageSet(PIXELS, np.eye(3, dtype=np.float32))
