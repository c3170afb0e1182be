"""InterFaceGAN's boundary: the direction that tells two sides, found again where it is known."""

from __future__ import annotations

import pytest
import torch

from editors.boundary import boundary_edit, linear_boundary
from networks.checkpoints.errors import GanvasError
from networks.stylegan2 import Generator


def test_two_clouds_are_told_by_what_sets_them_apart() -> None:
    random = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(8, generator=random, dtype=torch.float64), dim=0)
    clouds = 0.3 * torch.randn(2, 200, 8, generator=random, dtype=torch.float64) + 5
    normal, offset = linear_boundary(clouds[0] - 2 * direction, clouds[1] + 2 * direction)
    assert float(normal.norm()) == pytest.approx(1)
    assert float(normal @ direction) > 0.98
    assert ((clouds[0] - 2 * direction) @ normal < offset).all()
    assert ((clouds[1] + 2 * direction) @ normal > offset).all()


def test_a_boundary_does_not_depend_on_where_the_codes_lie_or_how_large_they_are() -> None:
    random = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 60, 4, generator=random, dtype=torch.float64)
    normal, offset = linear_boundary(a, b + 1)
    moved, moved_offset = linear_boundary(10 * a + 7, 10 * (b + 1) + 7)
    torch.testing.assert_close(moved, normal, rtol=1e-3, atol=1e-4)
    assert moved_offset == pytest.approx(10 * offset + 7 * float(normal.sum()), rel=1e-2)
    with pytest.raises(ValueError, match=r"codes must be \[N, D\] and \[M, D\]"):
        linear_boundary(a, b[:, :3])


def test_the_edit_leads_from_one_side_to_the_other(generator: Generator) -> None:
    """What a classifier says here is whether an image is bright, which moves with the codes."""
    def bright(images: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(1000 * (images.mean((1, 2, 3)) - middle))

    latent = generator.sample(400, 3)
    with torch.no_grad():
        middle = generator.render(latent).clamp(-1, 1).mean()
    found = boundary_edit(generator, bright, 400, seed=3, name="bright", region=("sky",))
    assert found.accuracy > 0.8
    assert (found.edit.space, found.edit.region, found.edit.name) == ("w+", ("sky",), "bright")
    rows = found.edit.delta["ws"]
    torch.testing.assert_close(rows, rows[:1].expand_as(rows))
    spread = latent.tensors["ws"][:, 0].var(0).mean().sqrt()
    assert float(rows[0].norm()) == pytest.approx(3 * float(spread), rel=1e-4)
    other = generator.sample(20, 8)
    with torch.no_grad():
        before, after, back = (
            generator.render(found.edit.apply(other, s)).clamp(-1, 1).mean() for s in (0.0, 1.0, -1.0)
        )
    assert back < before < after


def test_samples_that_all_look_alike_are_refused(generator: Generator) -> None:
    with pytest.raises(GanvasError, match="sure of only 0 with smile, or without: at least 20"):
        boundary_edit(generator, lambda images: torch.full((len(images),), 0.99), 60, name="smile")
