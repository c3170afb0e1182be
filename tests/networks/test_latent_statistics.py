"""Where codes lie: of W+ by rows, of a BlobGAN its hidden code, and who has neither."""

from __future__ import annotations

import pytest
import torch

from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.latent_statistics import code_statistics, codes_of, latent_of, w_statistics
from networks.stylegan2 import Generator
from tests.networks.test_blobgan import made


def test_a_blobgan_has_one_row_of_hidden_codes() -> None:
    generator = made()
    generator.layout_network.hidden_avg.fill_(0.3)
    found = code_statistics(generator, 32, seed=4)
    hidden = generator.sample(32, seed=4).tensors["hidden"]
    torch.testing.assert_close(found.mean, torch.full((1, 1, 24), 0.3))
    torch.testing.assert_close(found.std, (hidden - 0.3).square().mean().sqrt())
    codes = codes_of(found.samples)
    torch.testing.assert_close(codes[:, 0], hidden)
    images = (generator.render(each) for each in (latent_of(codes[:2], "layout"), found.samples[:2]))
    torch.testing.assert_close(*images)


def test_rows_of_w_plus_are_the_codes_of_a_stylegan() -> None:
    torch.manual_seed(0)
    generator = Generator(16, z_dim=8, w_dim=8, mapping_layers=1, channel_base=64, channel_max=8).eval()
    found = w_statistics(generator, 8)
    assert found.mean.shape == (1, generator.num_ws, 8)
    latent = latent_of(codes_of(found.samples), found.samples.space)
    assert (latent.space, latent.tensors["ws"].shape) == ("w+", (8, generator.num_ws, 8))


def test_who_has_neither_is_told() -> None:
    with pytest.raises(GanvasError, match=r"needs a generator with W\+, .* this one samples in layout"):
        w_statistics(made())
    with pytest.raises(GanvasError, match="this generator samples in z"):
        codes_of(Latent("z", {"z": torch.zeros(1, 4)}))
