"""Collage on StyleGAN2: uniform maps are the plain network, regions stay in their place, features with their image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from networks.blobgan import BlobGenerator
from networks.collage import Collage, Pasted, Region, Repainted, Transform, render_collage
from networks.latent import Latent
from networks.stylegan2 import Generator


def generator(architecture: str = "skip", **options: object) -> Generator:
    torch.manual_seed(0)
    G = Generator(32, z_dim=8, w_dim=8, mapping_layers=2, channel_base=256, channel_max=8, architecture=architecture,
                  **options)  # fmt: skip
    for name, p in G.named_parameters():
        if name.endswith("noise_strength"):
            p.data.fill_(0.3)
    return G.eval().requires_grad_(False)


def codes(G: Generator, n: int = 2, seed: int = 0, **options: object) -> Latent:
    rng = torch.Generator().manual_seed(seed)
    return Latent("w+", {"ws": torch.randn(n, G.num_ws, G.w_dim, generator=rng)}, **options)


def box(left: int, right: int, n: int = 2) -> Tensor:
    mask = torch.zeros(n, 32, 32)
    mask[:, :, left:right] = 1
    return mask


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("seed", [None, 7])
def test_nothing_done_is_the_plain_network(architecture: str, seed: int | None) -> None:
    G = generator(architecture)
    latent = codes(G, noise_seed=seed)
    assert torch.equal(render_collage(G, latent, Collage()), G.render(latent))


def test_a_map_of_one_style_is_the_plain_network() -> None:
    G = generator()
    latent, other = codes(G), codes(G, seed=1)
    for share, expected in ((1.0, other), (0.0, latent)):
        everywhere = Collage([Repainted(Region(box(0, 32), share), other.tensors["ws"])])
        torch.testing.assert_close(render_collage(G, latent, everywhere), G.render(expected), rtol=0, atol=1e-5)


def test_a_mix_of_styles_is_the_mix_in_w() -> None:
    G = generator()
    latent, other = codes(G), codes(G, seed=1)
    half = Collage([Repainted(Region(box(0, 32), 0.5), other.tensors["ws"])])
    between = latent.replace(ws=(latent.tensors["ws"] + other.tensors["ws"]) / 2)
    torch.testing.assert_close(render_collage(G, latent, half), G.render(between), rtol=0, atol=1e-5)


def test_a_region_in_fine_layers_leaves_far_pixels_as_they_are() -> None:
    G = generator()
    latent, other = codes(G), codes(G, seed=1)
    fine = dict.fromkeys(("b32.conv0", "b32.conv1", "b32.torgb"), 1.0)
    pictures = [
        render_collage(G, latent, Collage([Repainted(Region(mask, 1.0, fine, others=0.0), other.tensors["ws"])]))
        for mask in (box(0, 0), box(0, 8))
    ]
    changed = (pictures[0] != pictures[1]).any(1)[0].any(0)
    assert changed[:8].all()
    assert not changed[16:].any()


def test_a_row_of_w_plus_reaches_its_layers_alone() -> None:
    G = generator()
    latent, other = codes(G), codes(G, seed=1)
    mixed = latent.tensors["ws"].clone()
    mixed[:, 2:] = other.tensors["ws"][:, 2:]
    everywhere = Collage([Repainted(Region(box(0, 32)), mixed)])
    torch.testing.assert_close(render_collage(G, latent, everywhere), G.render(latent.replace(ws=mixed)), rtol=0,
                               atol=1e-5)  # fmt: skip


def test_pasted_features_come_with_their_image() -> None:
    G = generator()
    latent, other = codes(G), codes(G, seed=1)
    whole = Pasted(Region(box(0, 32), layers={"b32": 1.0}, others=0.0), other)
    assert torch.equal(render_collage(G, latent, Collage(pasted=[whole])), G.render(other))
    part = Pasted(Region(box(0, 12), layers={"b8": 1.0}, others=0.0), other)
    picture = render_collage(G, latent, Collage(pasted=[part]))
    assert not torch.equal(picture[..., :8], G.render(latent)[..., :8])
    order = [part, Pasted(Region(box(16, 32), layers={"b8": 1.0}, others=0.0), codes(G, seed=2))]
    torch.testing.assert_close(render_collage(G, latent, Collage(pasted=order)),
                               render_collage(G, latent, Collage(pasted=order[::-1])))  # fmt: skip


def test_a_shifted_paste_shows_the_other_picture_where_it_was_moved() -> None:
    G = generator()
    latent, other = codes(G), codes(G, seed=1)
    moved = Pasted(Region(box(0, 32), layers={"b32": 1.0}, others=0.0), other, transform=Transform(right=0.25))
    picture = render_collage(G, latent, Collage(pasted=[moved]))
    torch.testing.assert_close(picture[..., 8:], G.render(other)[..., :24])
    assert torch.equal(picture[..., :8], G.render(latent)[..., :8])


def test_repainted_and_pasted_go_together_and_gradients_reach_all_codes() -> None:
    G = generator()
    latents = [codes(G, seed=seed) for seed in range(3)]
    free = [latent.tensors["ws"].requires_grad_() for latent in latents]
    collage = Collage(
        [Repainted(Region(box(0, 10)), latents[1].tensors["ws"])], [Pasted(Region(box(20, 32)), latents[2])]
    )
    render_collage(G, latents[0], collage).square().sum().backward()
    assert all(ws.grad.abs().sum() > 0 for ws in free)


def test_other_generators_and_layers_are_refused() -> None:
    G = generator()
    with pytest.raises(ValueError, match=r"there is no layer b64; the layers are b4\.const, b4, b8, b16, b32"):
        render_collage(G, codes(G), Collage(pasted=[Pasted(Region(box(0, 2), layers={"b64": 1.0}), codes(G))]))
    blob = BlobGenerator(16, k=2, channels=[4, 4], z_dim=4, hidden_dim=8, layers=2, structure_dim=4, style_dim=4,
                         smallest=8).eval()  # fmt: skip
    with pytest.raises(ValueError, match="BlobGenerator has no classes or styles of regions"):
        render_collage(blob, blob.sample(1, 0), Collage())
