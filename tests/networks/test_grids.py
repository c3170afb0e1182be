"""Pictures for people: values, places, and files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from networks.checkpoints.errors import GanvasError
from networks.grids import save_grid, save_png, tile, to_uint8
from networks.latent import Latent
from networks.rendering import render_batches
from networks.stylegan2 import Generator


def test_values_are_rounded_and_clipped_and_grey_becomes_rgb() -> None:
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).reshape(1, 1, 1, 5)
    assert to_uint8(values)[0, 0].tolist() == [[v] * 3 for v in (0, 0, 128, 255, 255)]
    with pytest.raises(ValueError, match=r"images must be \[N, 1 or 3, H, W\], got \[1, 4, 2, 2\]"):
        to_uint8(torch.zeros(1, 4, 2, 2))


def test_tiles_are_in_reading_order_and_empty_places_white() -> None:
    images = np.stack([np.full((1, 2, 3), i, np.uint8) for i in range(5)])
    sheet = tile(images, columns=3)[..., 0]
    assert sheet.tolist() == [[0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 255, 255]]


def test_scale_enlarges_and_gap_separates() -> None:
    sheet = tile(np.zeros((4, 2, 3, 3), np.uint8), scale=2, gap=1)
    assert sheet.shape == (9, 13, 3)
    assert (sheet[4] == 255).all()
    assert (sheet[:, 6] == 255).all()


def test_a_grid_is_read_back_as_it_was_drawn(tmp_path: Path) -> None:
    path = save_grid(torch.zeros(3, 3, 4, 4), tmp_path / "deep" / "grid.png", scale=1)
    assert np.asarray(Image.open(path)).shape == (8, 8, 3)
    assert [file.name for file in path.parent.iterdir()] == ["grid.png"]
    (tmp_path / "file").write_text("")
    with pytest.raises(GanvasError, match="cannot write"):
        save_png(np.zeros((2, 2, 3), np.uint8), tmp_path / "file" / "grid.png")


def test_batches_give_the_images_of_one_call() -> None:
    torch.manual_seed(0)
    G = Generator(16, z_dim=4, w_dim=4, mapping_layers=1, channel_base=64, channel_max=4).eval()
    latent: Latent = G.sample(5, 0)
    parts = list(render_batches(G, latent, batch=2))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert not any(part.requires_grad for part in parts)
    torch.testing.assert_close(torch.cat(parts), G.render(latent), rtol=1e-4, atol=1e-5)
