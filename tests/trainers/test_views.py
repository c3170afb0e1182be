"""Random views of images: the same for versions of the same image, and no further away than asked."""

from __future__ import annotations

import torch

from trainers.views import alike, jitter


def images(n: int = 6, size: int = 32) -> torch.Tensor:
    """Smooth ones."""
    grid = torch.linspace(-3, 3, size)
    waves = torch.stack([torch.sin(grid[:, None] * (1 + i / n) + grid[None] * 0.7) for i in range(n)])
    return 0.8 * waves[:, None].repeat(1, 3, 1, 1)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_jitter_leaves_images_as_they_are() -> None:
    torch.testing.assert_close(jitter(images(), draws(), 0.0), images(), atol=1e-5, rtol=0)


def test_jitter_moves_each_image_by_its_own_draw_and_no_further_than_asked() -> None:
    x = torch.zeros(200, 1, 33, 33)
    x[:, :, 16, 16] = 1   # a dot in the middle, which turns and scaling leave where it is
    moved = jitter(x, draws(), 0.25)
    at = torch.stack(torch.meshgrid(torch.arange(33.0), torch.arange(33.0), indexing="ij"))
    middle = (moved * at).sum((2, 3)) / moved.sum((2, 3)) - 16   # [200, 2] pixels
    assert middle.abs().max() < 0.25 * 33 / 2 * 1.25 + 0.5       # in the image's own scale and turn
    assert middle.std(0).min() > 1
    assert torch.equal(jitter(x, draws(), 0.25), moved)


def test_versions_of_an_image_are_seen_through_one_view() -> None:
    before, after = images(), images().flip(2)
    first, second, third = alike([before, after, before], 7, 0.1)
    assert torch.equal(first, third)
    assert not torch.allclose(first, second)
    other, _, _ = alike([before, after, before], 8, 0.1)
    assert not torch.allclose(first, other)
    assert first.shape == before.shape
    assert first.abs().max() <= 1
    difference = (alike([before + 0.1, before], 7, 0.1)[0] - first)   # no noise is left between two versions
    assert difference.std() < 0.05


def test_gradients_pass_through_views() -> None:
    x = images().requires_grad_()
    alike([x], 3, 0.05)[0].sum().backward()
    assert (x.grad.flatten(1).abs().sum(1) > 0).all()
