"""The class-conditional GAN: its protocol, what a class does, the discriminator's formula, statistics of averages."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from networks.checkpoints.generators import kind_of, load_generator, save_generator
from networks.protocol import Generator
from networks.sngan import ConditionalGenerator, ProjectionDiscriminator
from networks.sngan.batch_norm import EPSILON, ConditionalBatchNorm
from networks.sngan.standing import take_standing_statistics


def tiny(seed: int = 0) -> ConditionalGenerator:
    """Untrained, with classes and statistics that differ."""
    torch.manual_seed(seed)
    G = ConditionalGenerator(16, 3, [8, 6, 4], z_dim=5).eval()
    for norm, _ in G.synthesis.norms.values():
        norm.gammas.data.add_(0.3 * torch.randn_like(norm.gammas))
        norm.betas.data.normal_(0, 0.3)
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 2)
    return G.requires_grad_(False)


def test_it_is_a_generator_of_the_house() -> None:
    G = tiny()
    assert isinstance(G, Generator)
    latent = G.sample(4, seed=1)
    assert latent.space == "z"
    assert latent.label.argmax(1).tolist() == [0, 1, 2, 0]
    torch.testing.assert_close(G.sample(1, 1, first=2).tensors["z"], latent[2].tensors["z"])
    image, features = G.render(latent, features=True)
    assert image.shape == (4, 3, 16, 16)
    assert image.abs().max() < 1
    assert {name: (f.shape[1], f.shape[2]) for name, f in features.items()} == G.feature_shapes
    assert G.feature_shapes == {"block2": (6, 8), "block3": (4, 16)}
    assert torch.equal(G.sample(2, 0, truncation=0.0).tensors["z"], torch.zeros(2, 5))


def test_an_image_depends_on_itself_alone() -> None:
    G = tiny()
    latent = G.sample(3, seed=0)
    alone = torch.cat([G.render(latent[i]) for i in range(3)])
    torch.testing.assert_close(G.render(latent), alone)


def test_a_class_is_its_gains_and_biases() -> None:
    norm = ConditionalBatchNorm(4, 3).eval()
    norm.gammas.data.normal_()
    norm.betas.data.normal_()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    x, label = torch.randn(2, 4, 5, 5), torch.eye(3)[[2, 0]]
    expected = (x - norm.running_mean[:, None, None]) / (norm.running_var + EPSILON).sqrt()[:, None, None]
    expected = expected * norm.gammas[[2, 0]][:, :, None, None] + norm.betas[[2, 0]][:, :, None, None]
    torch.testing.assert_close(norm(x, norm.affine(label)), expected)


def test_nearest_pixels_come_after_the_short_cut_as_before_it() -> None:
    G = tiny()
    block, x, affines = G.synthesis.block2, torch.randn(2, 8, 4, 4), G.synthesis.affines(torch.eye(3)[:2])
    grown = F.interpolate(x, scale_factor=2)
    h = block.c1(F.interpolate(F.relu(block.b1(x, affines["block2.b1"])), scale_factor=2))
    expected = block.c2(F.relu(block.b2(h, affines["block2.b2"]))) + block.c_sc(grown)
    torch.testing.assert_close(G.synthesis.block("block2", x, affines), expected)


def test_normalisations_know_where_they_are() -> None:
    assert [(path, size) for path, (_, size) in tiny().synthesis.norms.items()] == [
        ("block2.b1", 4), ("block2.b2", 8), ("block3.b1", 8), ("block3.b2", 16)
    ]  # fmt: skip


@pytest.mark.parametrize(("resolution", "width", "parameters"), [(256, 48, 22_556_547), (128, 64, 10_606_339)])
def test_the_releases_have_as_many_parameters(resolution: int, width: int, parameters: int) -> None:
    channels = {256: [768, 768, 384, 384, 192, 96, 48], 128: [512, 512, 256, 256, 128, 64]}[resolution]
    with torch.device("meta"):
        G = ConditionalGenerator(resolution, 143, channels)
    assert channels[-1] == width
    assert sum(p.numel() for p in G.parameters()) == parameters


@pytest.mark.parametrize(("resolution", "parameters"), [(256, 24_525_457), (128, 8_574_977)])
def test_the_releases_discriminators_have_as_many_parameters(resolution: int, parameters: int) -> None:
    channels = {256: [48, 96, 192, 384, 384, 768], 128: [64, 128, 256, 256, 512]}[resolution]
    D = ProjectionDiscriminator(resolution, 143, channels, flat=1, hidden_first=resolution == 128)
    assert sum(p.numel() for p in D.parameters()) == parameters


def test_a_logit_is_a_linear_layer_and_an_inner_product() -> None:
    torch.manual_seed(0)
    D = ProjectionDiscriminator(16, 3, [6, 8], flat=1).eval()
    x, label = torch.randn(4, 3, 16, 16), torch.eye(3)[[0, 1, 2, 0]]
    phi = D.features(x)["block3"].sum(dim=(2, 3))
    assert D.features(x)["block3"].shape == (4, 8, 4, 4)
    expected = D.last(phi)[:, 0] + (phi * D.classes.weight[[0, 1, 2, 0]]).sum(1)
    torch.testing.assert_close(D(x, label)[:, 0], expected)


def test_every_weight_of_the_discriminator_comes_to_have_norm_one() -> None:
    torch.manual_seed(0)
    D = ProjectionDiscriminator(16, 3, [6, 8], flat=1)
    for _ in range(60):  # one step of power iteration in each pass
        D(torch.zeros(1, 3, 16, 16), torch.eye(3)[:1])
    D.eval()
    found = [m.weight.detach().flatten(1) for m in D.modules() if hasattr(m, "parametrizations")]
    assert len(found) == 10
    for weight in found:
        assert torch.linalg.matrix_norm(weight, 2) == pytest.approx(1, abs=0.02)


def test_evaluation_leaves_the_discriminator_as_it_is() -> None:
    D = ProjectionDiscriminator(16, 3, [6]).eval()
    before = copy.deepcopy(D.state_dict())
    D(torch.randn(2, 3, 16, 16), torch.eye(3)[:2])
    assert all(torch.equal(value, before[name]) for name, value in D.state_dict().items())


def test_standing_statistics_are_those_of_a_batch_where_there_is_one() -> None:
    G = tiny()
    take_standing_statistics(G, samples=8, batch=8, seed=3)
    latent = G.sample(8, seed=3)
    x = G.synthesis.bottom(latent.tensors["z"])
    norm = G.synthesis.block2.b1
    torch.testing.assert_close(norm.running_mean, x.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(norm.running_var, x.var(dim=(0, 2, 3)))
    assert not G.training
    alone = G.render(latent)
    G.train()
    torch.testing.assert_close(G.render(latent), alone, rtol=0, atol=0.02)  # the batch's own, but for n / (n - 1)


def test_standing_statistics_are_means_over_batches() -> None:
    G = tiny()
    found = []
    for first in (0, 4):
        one = copy.deepcopy(G)
        x = one.synthesis.bottom(one.sample(4, 0, first=first).tensors["z"])
        found.append(x.mean(dim=(0, 2, 3)))
    take_standing_statistics(G, samples=9, batch=4)
    torch.testing.assert_close(G.synthesis.block2.b1.running_mean, (found[0] + found[1]) / 2)


def test_bundles_give_the_networks_again(tmp_path) -> None:
    G, D = tiny(), ProjectionDiscriminator(16, 3, [6])
    assert (kind_of(G), kind_of(D)) == ("sngan", "projection_discriminator")
    path = save_generator(tmp_path / "g.safetensors", G, {"label_names": ["a", "b", "c"]})
    again = load_generator(path)
    latent = G.sample(2, seed=0)
    assert torch.equal(again.render(latent), G.render(latent))


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="a power of two of at least 8, got 12"):
        ConditionalGenerator(12, 2)
    with pytest.raises(ValueError, match="at least 2 classes, got c_dim=1"):
        ConditionalGenerator(8, 1)
    with pytest.raises(ValueError, match=r"positive counts of 4x4, 8x8, ..., 16, got \[8\]"):
        ConditionalGenerator(16, 2, [8])
    with pytest.raises(ValueError, match="channels must be 1 to 3 counts for 8 pixels"):
        ProjectionDiscriminator(8, 2, [4, 4, 4, 4])
    with pytest.raises(ValueError, match=r"the label must be \[2, 3\], got \[2, 4\]"):
        tiny().sample(2, 0, torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"the label must be \[2, 2\], got None"):
        ProjectionDiscriminator(8, 2, [4])(torch.zeros(2, 3, 8, 8), None)
    G = tiny()
    with pytest.raises(ValueError, match="renders z alone, not 'w'"):
        G.render(type(G.sample(1, 0))("w", {"w": torch.zeros(1, 5)}))
