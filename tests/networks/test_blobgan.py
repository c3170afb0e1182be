"""Layouts, their network and the decoder: what holds for any weights."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from networks.blobgan import BlobGenerator, Jitter, Layout, LayoutNetwork
from networks.blobgan.layout import turned
from networks.blobgan.limits import FARTHEST, MOST_STRETCHED, fault
from networks.blobgan.synthesis import BlobLayer, BlobToRGB
from networks.checkpoints.generators import load_generator, save_generator
from networks.checkpoints.latents import load_latent, save_latent
from networks.latent import Latent
from networks.protocol import Generator

SMALL: dict[str, Any] = {
    "img_resolution": 32, "k": 3, "channels": [12, 8, 6], "z_dim": 16, "hidden_dim": 24, "layers": 3, "lr_mult": 1.0,
    "structure_dim": 10, "style_dim": 6, "smallest": 8,
}  # fmt: skip


def made(**changes: Any) -> BlobGenerator:
    torch.manual_seed(0)
    return BlobGenerator(**{**SMALL, **changes}).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def generator() -> BlobGenerator:
    return made()


@pytest.fixture(scope="module")
def layout(generator: BlobGenerator) -> Layout:
    return Layout.of(generator.sample(4, seed=0))


def test_it_is_a_generator(generator: BlobGenerator) -> None:
    assert isinstance(generator, Generator)
    images, features = generator.render(generator.sample(2, 0), features=True)
    assert images.shape == (2, 3, 32, 32)
    assert {name: (x.shape[1], x.shape[2]) for name, x in features.items()} == generator.feature_shapes
    assert list(generator.feature_shapes) == ["b8.conv1", "b16.conv0", "b16.conv1", "b32.conv0", "b32.conv1"]
    assert generator.constant_features == frozenset()


def test_the_releases_sizes() -> None:
    with torch.device("meta"):
        whole = BlobGenerator(256)
    # Two layers of 512 and 1024, six of 1024, and 14 150 outputs: the release has one more, which nothing uses.
    layers = (512 + 1) * 1024 + 6 * (1024 + 1) * 1024 + (1024 + 1) * 14150
    assert sum(p.numel() for p in whole.layout_network.parameters()) == layers
    assert sum(p.numel() for p in whole.synthesis.parameters()) == pytest.approx(35.87e6, rel=1e-3)


@pytest.mark.parametrize("size", [64, 128])
def test_other_resolutions_follow_the_releases_rule(size: int) -> None:
    G = made(img_resolution=size, channels=None, c_model=2, smallest=16)
    images, features = G.render(G.sample(2, 0), features=True)
    assert images.shape == (2, 3, size, size)
    assert images.isfinite().all()
    assert images.std() > 0.01
    assert [shape[1] for shape in G.feature_shapes.values()][-1] == size
    assert {name: tuple(x.shape[1:]) for name, x in features.items()} == {
        name: (width, side, side) for name, (width, side) in G.feature_shapes.items()
    }


def test_item_i_depends_on_seed_and_i_alone(generator: BlobGenerator) -> None:
    many, few = generator.sample(5, seed=3), generator.sample(2, seed=3)
    for name, tensor in few.tensors.items():
        torch.testing.assert_close(many.tensors[name][:2], tensor)
        torch.testing.assert_close(generator.sample(3, seed=3, first=2).tensors[name], many.tensors[name][2:])
    assert not torch.equal(generator.sample(1, seed=4).tensors["centre"], few.tensors["centre"][:1])


@torch.no_grad()
def test_the_spaces_of_a_latent_give_one_image(generator: BlobGenerator) -> None:
    z = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    hidden = generator.layout_network.hidden(z)
    as_layout = generator.layout_network.layout(hidden).latent()
    first = generator.render(Latent("z", {"z": z}))
    assert torch.equal(generator.render(Latent("w", {"w": hidden})), first)
    assert torch.equal(generator.render(as_layout), first)
    with pytest.raises(ValueError, match=r"BlobGAN renders z, w .* and layout, not 's'"):
        generator.render(Latent("s", {"x": z}))


@pytest.mark.parametrize(("up_to", "size"), [(16, 16), (31, 16), (8, 8), (1, 8), (32, 32), (256, 32)])
def test_what_stops_at_a_resolution_is_exact(up_to: int, size: int) -> None:
    generator, seen = made(), {}
    for block in generator.synthesis.blocks():
        block.register_forward_hook(lambda block, _, out: seen.update({block.resolution: out[1]}))
    latent = generator.sample(2, 0)
    generator.render(latent)
    image = seen[size]
    seen.clear()
    assert torch.equal(generator.render(latent, up_to=up_to), image)
    assert max(seen) == size


def test_truncation_moves_towards_the_mean(generator: BlobGenerator) -> None:
    network = generator.layout_network
    with torch.no_grad():
        for _ in range(3):
            network.hidden(torch.randn(64, 16), update_avg=True)
    assert network.hidden_avg.abs().sum() > 0
    mean = network.layout(network.hidden_avg[None])
    full = Layout.of(generator.sample(3, 0, truncation=0.0))
    torch.testing.assert_close(full.centre, mean.centre.expand(3, -1, -1))
    half = generator.sample(3, 0, truncation=0.5).tensors["hidden"]
    torch.testing.assert_close(half, (generator.sample(3, 0).tensors["hidden"] + network.hidden_avg) / 2)


@torch.no_grad()
def test_weights_sum_to_one_and_are_a_pooled_pyramid(generator: BlobGenerator, layout: Layout) -> None:
    weights = generator.synthesis.weights(layout)
    assert list(weights) == [32, 16, 8]
    for level in weights.values():
        torch.testing.assert_close(level.sum(dim=1), torch.ones_like(level[:, 0]))
    for resolution in (32, 16):
        torch.testing.assert_close(weights[resolution // 2], F.avg_pool2d(weights[resolution], 2))


def test_the_covariance_has_a_fixed_area(layout: Layout) -> None:
    covariance = layout.covariance(area=0.02)
    torch.testing.assert_close(torch.linalg.det(covariance), torch.full((4, 3), 0.02**2))
    along = (covariance @ layout.angle[..., None]).squeeze(-1)
    torch.testing.assert_close(along, layout.angle * (0.02 * layout.log_aspect.exp())[..., None])


@torch.no_grad()
def test_any_number_of_blobs_renders(generator: BlobGenerator, layout: Layout) -> None:
    torch.testing.assert_close(
        generator.render(layout.take([0, 1, 2]).latent()), generator.render(layout.latent())
    )  # fmt: skip
    assert generator.render(layout.take([2]).latent()).shape == (4, 3, 32, 32)
    hidden = layout.replace(size=torch.cat([layout.size[:, :1] - 60, layout.size[:, 1:]], 1))
    torch.testing.assert_close(
        generator.render(hidden.latent()), generator.render(layout.take([1, 2]).latent()), rtol=1e-4, atol=1e-5
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"some of 0 to 2, got \[3\]"):
        layout.take([3])


@torch.no_grad()
def test_depth_is_an_order_of_blobs(generator: BlobGenerator, layout: Layout) -> None:
    turned_round = layout.take([2, 1, 0])
    by_depth = layout.replace(depth=torch.tensor([3.0, 2.0, 1.0]).expand(4, -1))
    torch.testing.assert_close(
        generator.render(by_depth.latent()), generator.render(turned_round.latent()), rtol=1e-4, atol=1e-5
    )  # fmt: skip


@given(st.floats(0, 1), st.integers(0, 2**20))
@settings(max_examples=20, deadline=None)
def test_jitter_is_continuous_and_bounded(share: float, seed: int) -> None:
    angle = torch.linspace(-math.pi, math.pi, 9)
    angle = torch.stack([angle.cos(), angle.sin()], 1)[None]
    ones = torch.zeros(1, 9)
    still = Layout(torch.rand(1, 9, 2), ones, ones, angle, torch.ones(1, 10, 2), torch.ones(1, 10, 2))
    bound = Jitter(0.04, 0.5, 0.1).scaled(share)
    moved = bound(still, torch.Generator().manual_seed(seed))
    assert ((moved.centre - still.centre).abs() <= bound.centre + 1e-6).all()
    assert ((moved.size - still.size).abs() <= bound.size + 1e-6).all()
    cosine = (moved.angle * still.angle).sum(-1).clamp(-1, 1)
    assert (cosine >= math.cos(bound.angle) - 1e-6).all()  # no blob is mirrored, wherever it points
    torch.testing.assert_close(moved.angle.square().sum(-1), torch.ones(1, 9))


def test_no_jitter_is_the_layout_itself(layout: Layout) -> None:
    assert Jitter()(layout) is layout
    with pytest.raises(ValueError, match="jitter of angle must be a number not below 0"):
        Jitter(angle=math.nan)


def test_turning_is_clockwise_in_the_image() -> None:
    torch.testing.assert_close(turned(torch.tensor([1.0, 0.0]), math.pi / 2), torch.tensor([0.0, 1.0]))


def explicit_style(layer: BlobLayer | BlobToRGB, weights: Tensor, style: Tensor) -> Tensor:
    """The map of styles that is never made, ``[N, C, H, W]``."""
    return torch.einsum("nkhw,nkc->nchw", weights, layer.affine(style))


@torch.no_grad()
def test_a_layer_is_its_equations(generator: BlobGenerator, layout: Layout) -> None:
    layer, weights = generator.synthesis.b8.conv1, generator.synthesis.weights(layout)
    x = torch.randn(4, 10, 8, 8)
    style = explicit_style(layer, weights[8], layout.style)
    style = style * (style.square().mean(1, keepdim=True) + 1e-8).rsqrt()
    kernel = layer.weight / layer.weight.square().sum([1, 2, 3], keepdim=True).sqrt()
    expected = F.leaky_relu(F.conv2d(x * style, kernel, padding=1), 0.2) * math.sqrt(2)
    torch.testing.assert_close(layer(x, weights, layout.style, "none"), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_to_rgb_is_its_equation(generator: BlobGenerator, layout: Layout) -> None:
    layer, weights = generator.synthesis.b8.torgb, generator.synthesis.weights(layout)
    x = torch.randn(4, 12, 8, 8)
    style = explicit_style(layer, weights[8], layout.style)
    expected = F.conv2d(x * style, layer.weight[:, :, None, None] / math.sqrt(12))
    torch.testing.assert_close(layer(x, weights, layout.style), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", ["index", "learned"])
def test_gradients_reach_every_weight_and_frozen_covariances_have_none(depth: str) -> None:
    for covariance in ("learned", "frozen"):
        generator = made(covariance=covariance, own_opacity=True, depth=depth).train().requires_grad_(True)
        generator(torch.randn(2, 16), noise="random").square().mean().backward()
        idle = [name for name, p in generator.named_parameters() if p.grad is None]
        assert idle == []
        rows = generator.layout_network.blobs.weight.grad[16:].unflatten(0, (3, -1))  # after the background's features
        assert bool((rows[:, 3:7] == 0).all()) == (covariance == "frozen")
        moved = rows.abs().sum(dim=2) > 0
        assert moved[:, :3].all()
        assert moved[:, 7:].all()  # the opacity, the depth if it is learned, and the features


def test_the_choices_of_the_layout_network() -> None:
    network = LayoutNetwork(2, 8, 12, 2, 3, 4, 1.0, own_opacity=True, depth="learned", aspect_bound=0.5)
    layout = network(50 * torch.randn(16, 8))
    assert layout.opacity.shape == layout.depth.shape == (16, 2)
    assert ((layout.opacity > 0) & (layout.opacity < 1)).all()
    assert layout.log_aspect.abs().max() <= 0.5
    torch.testing.assert_close(layout.structure.square().mean(2), torch.ones(16, 3), rtol=1e-3, atol=1e-3)
    for wrong in (
        {"k": 0}, {"k": 192}, {"k": 1, "covariance": "none"}, {"k": 1, "depth": "z"}, {"k": 1, "aspect_bound": 0.0},
        {"k": 1, "aspect_bound": math.inf},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="must be"):
            LayoutNetwork(**wrong)


def test_no_network_draws_what_cannot_be_rendered() -> None:
    network = LayoutNetwork(3, 8, 12, 2, 3, 4, 1.0)
    with torch.no_grad():
        network.blobs.weight.mul_(1e4)
        layout = network(torch.randn(64, 8))
    assert layout.log_aspect.abs().max() == MOST_STRETCHED
    assert fault(layout) is None


@pytest.mark.parametrize("area", [1e-4, 0.01, 0.02, 1.0])
@pytest.mark.parametrize("share", [-1.0, -0.5, 0.5, 1.0])
def test_everything_is_finite_as_far_as_blobs_may_be_stretched_and_moved(area: float, share: float) -> None:
    turns = torch.tensor([0.0, 1e-4, 0.7, math.pi / 2 - 1e-4, math.pi / 2, math.pi])
    angle = torch.stack([turns.cos(), turns.sin()], 1)
    angle[[0, 4]] = torch.eye(2)  # no rounding error to lean on
    shift = torch.tensor([0.5, 0.5, FARTHEST]).repeat(2)
    numbers = {
        "centre": torch.stack([shift, shift.flip(0)], 1)[None], "size": torch.full((1, 6), 2.0),
        "log_aspect": torch.full((1, 6), share * MOST_STRETCHED), "angle": angle[None],
    }  # fmt: skip
    layout = Layout(**numbers, structure=torch.ones(1, 7, 2), style=torch.ones(1, 7, 2))
    assert fault(layout) is None
    assert torch.isfinite(layout.covariance(area)).all()
    free = {name: value.requires_grad_() for name, value in numbers.items()}
    levels = layout.replace(**free).weights(16, 8, area)
    loss = sum((level * torch.arange(level.numel()).view_as(level).sin()).sum() for level in levels.values())
    first = torch.autograd.grad(loss, list(free.values()), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), list(free.values()))
    for tensor in (*levels.values(), *first, *second):
        assert torch.isfinite(tensor).all()


def test_a_layout_survives_a_file(generator: BlobGenerator, tmp_path: Path) -> None:
    latent = replace(generator.sample(3, 1), generator_hash="0" * 64)
    again, names = load_latent(save_latent(tmp_path / "l.safetensors", latent, ["a", "b", "c"]))
    assert names == ("a", "b", "c")
    assert torch.equal(generator.render(again), generator.render(latent))


def test_a_generator_survives_a_bundle(generator: BlobGenerator, tmp_path: Path) -> None:
    again = load_generator(save_generator(tmp_path / "g.safetensors", generator, {}))
    assert again.config == generator.config
    assert torch.equal(again.render(again.sample(2, 0)), generator.render(generator.sample(2, 0)))


def test_noise_belongs_to_layers(generator: BlobGenerator) -> None:
    noisy = made()
    noisy.synthesis.b16.conv0.noise_strength.fill_(0.5)
    assert list(noisy.noise_maps()) == ["b16.conv0"]
    latent = noisy.sample(2, 0)
    own = latent.with_noise({"b16.conv0": torch.zeros(2, 16, 16)})
    assert torch.equal(noisy.render(own), generator.render(latent))
    assert not torch.equal(noisy.render(replace(latent, noise_seed=1)), noisy.render(latent))
    with pytest.raises(ValueError, match=r"no layer b4\.const"):
        noisy.render(latent.with_noise({"b4.const": torch.zeros(2, 4, 4)}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": [12, 8]}, r"channels must be 3 positive counts, of 8, \.\.\., 32"),
        ({"smallest": 64}, r"powers of two, from 4 and in this order, got 64 and 32"),
        ({"smallest": 12}, r"powers of two"),
        ({"area": 0.0}, r"area must be above 0"),
        ({"half_dtype": "int8"}, r"half_dtype must be"),
    ],
)
def test_wrong_arguments_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**changes)


def test_wrong_layouts_are_named(generator: BlobGenerator, layout: Layout) -> None:
    with pytest.raises(ValueError, match=r"size must be \[4, 3\] for 3 blobs in 4 scenes, got \[4, 2\]"):
        layout.replace(size=layout.size[:, :2])
    with pytest.raises(ValueError, match=r"style must be \[4, 4, D\]"):
        layout.replace(style=layout.style[:, 1:])
    with pytest.raises(ValueError, match=r"structure and style must be 10 and 6 wide, got 9 and 6"):
        generator.render(layout.replace(structure=layout.structure[:, :, 1:]).latent())
    with pytest.raises(ValueError, match=r"this latent lacks \['style'\]"):
        Layout.of(Latent("layout", {name: t for name, t in layout.tensors().items() if name != "style"}))
    with pytest.raises(ValueError, match="takes no label"):
        generator.sample(1, 0, label=torch.ones(1, 2))


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_stays_close(generator: BlobGenerator, half: str) -> None:
    latent = generator.sample(2, 0)
    quick = made(num_fp16_res=2, half_dtype=half, channels_last=True)
    torch.testing.assert_close(quick.render(latent), generator.render(latent), rtol=0.1, atol=0.1)
