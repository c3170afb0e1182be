"""What heads read besides the generator's own maps: the image and its local contrast."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d, pad

from networks.segmentation import head_for, render_maps
from networks.segmentation.maps import CONTRAST, IMAGE, local_mean, map_shapes
from networks.stylegan2 import Generator


@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 9), width=st.integers(1, 9), radius=st.integers(0, 12), seed=st.integers(0, 99))
def test_local_mean_is_a_box_over_repeated_borders(height: int, width: int, radius: int, seed: int) -> None:
    x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = avg_pool2d(pad(x, (radius,) * 4, mode="replicate"), 2 * radius + 1, stride=1)
    torch.testing.assert_close(local_mean(x, radius), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_maps_are_what_their_shapes_say(channels: int) -> None:
    torch.manual_seed(0)
    generator = Generator(16, z_dim=8, w_dim=8, channel_base=128, channel_max=16, img_channels=channels).eval()
    with torch.no_grad():
        image, maps = render_maps(generator, generator.sample(2, 0))
    assert {name: (x.shape[1], x.shape[2]) for name, x in maps.items()} == map_shapes(generator, image=True)
    assert torch.equal(maps[IMAGE], image)
    torch.testing.assert_close(maps[CONTRAST], image - local_mean(image, 1))


def test_contrast_does_not_see_how_bright_the_surroundings_are() -> None:
    flat = torch.full((1, 3, 32, 32), 0.7)
    torch.testing.assert_close(flat - local_mean(flat, 2), torch.zeros_like(flat))


@pytest.mark.parametrize(("kind", "reads"), [("default", True), ("reference", False), ("linear", False)])
def test_only_the_default_head_reads_the_image(kind: str, reads: bool) -> None:
    head = head_for(Generator(16, z_dim=8, w_dim=8, channel_base=128, channel_max=16), kind, 3, members=2)
    assert (IMAGE in head.feature_names) == (CONTRAST in head.feature_names) == reads
