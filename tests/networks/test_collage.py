"""Classes and features in a part of an image: exactly there, exactly what is asked for, and nothing elsewhere."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from networks.collage import Collage, Pasted, Region, Repainted, Transform, conditional, feathered, render_collage
from networks.collage.conditional import ConditionalStages
from networks.collage.regions import Shares, pooled
from networks.latent import Latent
from networks.sngan import ConditionalGenerator

RADII_128 = [63, 47, 31, 23, 15, 11, 7, 5, 3, 2]  # of the release's network, one normalisation at a time


def generator(resolution: int = 32, width: int = 3) -> ConditionalGenerator:
    torch.manual_seed(0)
    steps = resolution.bit_length() - 2
    G = ConditionalGenerator(resolution, 4, [width] * steps, z_dim=6).double().eval()
    for norm, _ in G.synthesis.norms.values():
        norm.gammas.data.add_(0.5 * torch.randn_like(norm.gammas))
        norm.betas.data.normal_(0, 0.5)
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 2)
    return G.requires_grad_(False)


def codes(G: ConditionalGenerator, n: int = 2, seed: int = 0) -> Latent:
    latent = G.sample(n, seed)
    return Latent("z", {"z": latent.tensors["z"].double()}, latent.label.double())


def box(size: int, left: int, right: int, n: int = 2) -> Tensor:
    mask = torch.zeros(n, size, size, dtype=torch.float64)
    mask[:, :, left:right] = 1
    return mask


# --- shares


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.floats(0, 1), st.sampled_from([4, 8, 16]), st.integers(0, 99))
def test_shares_are_not_negative_and_sum_to_one(k: int, strength: float, resolution: int, seed: int) -> None:
    masks = torch.rand(k, 2, 16, 16, generator=torch.Generator().manual_seed(seed))
    found = Shares([Region(mask, strength) for mask in masks]).at("any", resolution)
    assert found.shape == (2, 1 + k, resolution, resolution)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(2, resolution, resolution))


def test_a_layer_has_its_own_strength() -> None:
    region = Region(torch.ones(1, 8, 8), 0.5, {"block2.b1": 0.5, "block2.b2": 0.0}, others=1.0)
    shares = Shares([region])
    assert [float(shares.at(path, 4)[0, 1].mean()) for path in ("block2.b1", "block2.b2", "block3.b1")] == [
        0.25, 0.0, 0.5
    ]  # fmt: skip


def test_layers_that_heed_regions_alike_have_the_same_maps() -> None:
    """And where they do not, each region has its own factor."""
    left, right = box(8, 0, 4), box(8, 4, 8)
    shares = Shares([Region(left, layers={"b": 0.5}), Region(right, layers={"b": 0.25})])
    assert shares.at("a", 4) is shares.at("c", 4)
    torch.testing.assert_close(shares.at("a", 4)[:, 1:], pooled(torch.stack([left, right], dim=1), 4))
    torch.testing.assert_close(shares.at("b", 8)[0, :, 0, 0].tolist(), [0.5, 0.5, 0.0])
    torch.testing.assert_close(shares.at("b", 8)[0, :, 0, 7].tolist(), [0.75, 0.0, 0.25])


def test_a_soft_edge_keeps_the_mask_s_weight_and_its_far_sides() -> None:
    mask = box(32, 8, 24)
    soft = feathered(mask, 1 / 32)
    assert soft[0, 16, 16] == pytest.approx(1)
    assert soft[0, 16, 0] == 0
    assert 0.5 < soft[0, 16, 8] < 0.9
    torch.testing.assert_close(soft.mean(), mask.mean())
    assert torch.equal(feathered(mask, 0.0), mask)
    torch.testing.assert_close(feathered(torch.ones(1, 8, 8), 0.1), torch.ones(1, 8, 8))


def test_cells_are_means_of_their_area() -> None:
    mask = torch.rand(1, 1, 16, 16)
    torch.testing.assert_close(pooled(mask, 4)[0, 0, 1, 2], mask[0, 0, 4:8, 8:12].mean())
    with pytest.raises(ValueError, match="maps of 12 pixels a side have no cells of 8"):
        pooled(torch.rand(1, 1, 12, 12), 8)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Region(torch.ones(2, 4, 5)), r"floats \[N, R, R\]"),
        (lambda: Region(torch.full([1, 4, 4], 1.5)), "numbers from 0 to 1"),
        (lambda: Region(torch.full([1, 4, 4], torch.nan)), "numbers from 0 to 1"),
        (lambda: Region(torch.ones(1, 4, 4), layers={"block2.b1": 2.0}), "got block2.b1=2.0"),
        (lambda: feathered(torch.ones(1, 4, 4), -1.0), "the width of a soft edge"),
        (lambda: Transform(scale=0.0), "a scale above 0"),
        (lambda: Transform(right=float("nan")), "a shift must be finite"),
        (lambda: Shares([]), "at least one region"),
    ],
)
def test_what_makes_no_sense_is_named(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


# --- classes


def test_a_map_of_one_class_is_the_plain_generator() -> None:
    G = generator()
    latent = codes(G)
    other = torch.eye(4, dtype=torch.float64)[[3, 3]]
    everywhere = Collage([Repainted(Region(torch.ones(2, 32, 32, dtype=torch.float64)), other)])
    torch.testing.assert_close(render_collage(G, latent, everywhere), G(latent.tensors["z"], other), rtol=0, atol=1e-6)
    nowhere = Collage([Repainted(Region(torch.zeros(2, 32, 32, dtype=torch.float64)), other)])
    torch.testing.assert_close(render_collage(G, latent, nowhere), G.render(latent), rtol=0, atol=1e-6)
    assert torch.equal(render_collage(G, latent, Collage()), G.render(latent))


def test_half_a_strength_is_half_of_both_classes() -> None:
    G = generator()
    latent = codes(G)
    other = torch.eye(4, dtype=torch.float64)[[3, 3]]
    half = Collage([Repainted(Region(torch.ones(2, 32, 32, dtype=torch.float64), 0.5), other)])
    torch.testing.assert_close(render_collage(G, latent, half), G(latent.tensors["z"], (latent.label + other) / 2))


def test_the_order_of_regions_means_nothing() -> None:
    G = generator()
    latent = codes(G)
    eye = torch.eye(4, dtype=torch.float64)
    items = [
        Repainted(Region(feathered(box(32, 4, 20), 0.05)), eye[[3, 3]]),
        Repainted(Region(feathered(box(32, 16, 28), 0.05)), eye[[2, 2]]),
    ]
    torch.testing.assert_close(render_collage(G, latent, Collage(items)),
                               render_collage(G, latent, Collage(items[::-1])))  # fmt: skip


@pytest.mark.parametrize("number", range(10))
def test_an_edit_of_one_layer_reaches_so_far_and_no_farther(number: int) -> None:
    G = generator(128, width=5)
    latent = codes(G, n=1)
    path = list(G.synthesis.norms)[number]
    other = torch.eye(4, dtype=torch.float64)[[3]]
    empty, edge = torch.zeros(1, 128, 128, dtype=torch.float64), 32
    pictures = [
        render_collage(G, latent, Collage([Repainted(Region(mask, 1.0, {path: 1.0}, others=0.0), other)]))
        for mask in (empty, box(128, 0, edge, n=1))
    ]
    changed = (pictures[0] != pictures[1]).any(1)[0].any(0).nonzero().max().item()
    assert changed - (edge - 1) == RADII_128[number]


def test_only_the_classes_that_are_used_are_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    G, seen = generator(), []
    latent = codes(G)
    mix = conditional.spatial_affine
    monkeypatch.setattr(conditional, "spatial_affine", lambda *a: seen.append([t.shape[1] for t in a[1:]]) or mix(*a))
    half = Repainted(Region(box(32, 0, 16)), torch.eye(4, dtype=torch.float64)[[3, 3]])
    found = ConditionalStages(G).styles(latent, [half])
    assert seen == []  # until a layer is drawn
    assert [affine.gain.shape[2:] for affine in found.values()] == [(r, r) for r in (4, 8, 8, 16, 16, 32)]
    assert seen == [[2, 2]] * 6  # two of four classes, at each normalisation


# --- features


def pasted(G: ConditionalGenerator, mask: Tensor, seed: int = 5, **options: object) -> Pasted:
    transform = options.pop("transform", Transform())
    return Pasted(Region(mask, **options), codes(G, len(mask), seed), transform=transform)


def test_all_features_of_another_picture_are_that_picture() -> None:
    G = generator()
    latent = codes(G)
    whole = pasted(G, torch.ones(2, 32, 32, dtype=torch.float64), layers={"l1": 1.0}, others=0.0)
    picture = render_collage(G, latent, Collage(pasted=[whole]))
    assert torch.equal(picture, G.render(whole.latent))  # of the same classes, so that all of it is the other's
    deep = pasted(G, torch.ones(2, 32, 32, dtype=torch.float64), layers={"block4": 1.0}, others=0.0)
    assert torch.equal(render_collage(G, latent, Collage(pasted=[deep])), G.render(deep.latent))


def test_no_share_is_the_picture_itself() -> None:
    G = generator()
    latent = codes(G)
    none = pasted(G, torch.zeros(2, 32, 32, dtype=torch.float64))
    assert torch.equal(render_collage(G, latent, Collage(pasted=[none])), G.render(latent))
    off = pasted(G, torch.ones(2, 32, 32, dtype=torch.float64), others=0.0)
    assert torch.equal(render_collage(G, latent, Collage(pasted=[off])), G.render(latent))


def test_the_order_of_references_means_nothing() -> None:
    G = generator()
    latent = codes(G)
    items = [pasted(G, feathered(box(32, 0, 14), 0.04), 5), pasted(G, feathered(box(32, 10, 24), 0.04), 6)]
    torch.testing.assert_close(render_collage(G, latent, Collage(pasted=items)),
                               render_collage(G, latent, Collage(pasted=items[::-1])))  # fmt: skip


def test_a_reference_has_its_own_class_map_and_both_kinds_go_together() -> None:
    G = generator()
    latent = codes(G)
    eye = torch.eye(4, dtype=torch.float64)
    plain = pasted(G, box(32, 0, 16))
    repainted = Pasted(plain.region, plain.latent, [Repainted(Region(box(32, 0, 32)), eye[[3, 3]])])
    as_label = Pasted(plain.region, Latent("z", plain.latent.tensors, eye[[3, 3]]))
    first, second = (render_collage(G, latent, Collage(pasted=[item])) for item in (repainted, as_label))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)
    both = render_collage(G, latent, Collage([Repainted(Region(box(32, 20, 32)), eye[[2, 2]])], [plain]))
    assert not torch.equal(both, render_collage(G, latent, Collage(pasted=[plain])))


def test_shares_that_preserve_variance_have_squares_that_sum_to_one() -> None:
    G = generator()
    latent = codes(G)
    half = pasted(G, torch.full([2, 32, 32], 0.5, dtype=torch.float64), layers={"block4": 1.0}, others=0.0)
    a, b = {}, {}
    G.synthesis(latent.tensors["z"], latent.label, a)
    G.synthesis(half.latent.tensors["z"], half.latent.label, b)
    kept: dict[str, Tensor] = {}
    render_collage(G, latent, Collage(pasted=[half], preserve_variance=True), kept)
    torch.testing.assert_close(kept["block4"], (a["block4"] + b["block4"]) / 2**0.5)


# --- transforms


@pytest.mark.parametrize("cells", [1, 3, -2])
def test_a_shift_by_cells_is_exact_and_its_opposite_brings_back_what_stayed_inside(cells: int) -> None:
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    moved, inside = Transform(right=cells / 8)(x)
    expected = torch.zeros_like(x)
    kept = slice(max(cells, 0), 8 + min(cells, 0))
    came = slice(max(-cells, 0), 8 + min(-cells, 0))
    expected[..., kept] = x[..., came]
    assert torch.equal(moved, expected)
    assert inside[0, 0, 0].tolist() == [float(kept.start <= i < kept.stop) for i in range(8)]
    back, _ = Transform(right=-cells / 8)(moved)
    assert torch.equal(back[..., came], x[..., came])


def test_mirror_and_scale() -> None:
    x = torch.arange(8.0).repeat(8, 1)[None, None]
    mirrored, inside = Transform(mirror=True)(x)
    assert torch.equal(mirrored, x.flip(-1))
    assert inside.all()
    larger, inside = Transform(scale=2.0)(x)
    torch.testing.assert_close(larger[0, 0, 0], 3.5 + (torch.arange(8.0) - 3.5) / 2)
    assert inside.all()
    _, inside = Transform(scale=0.5)(x)
    assert inside[0, 0, 4].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


def test_what_is_moved_in_from_beyond_the_border_is_not_blended() -> None:
    G = generator()
    latent = codes(G)
    item = pasted(G, torch.ones(2, 32, 32, dtype=torch.float64), layers={"block4": 1.0}, others=0.0,
                  transform=Transform(right=0.5))  # fmt: skip
    own: dict[str, Tensor] = {}
    G.synthesis(latent.tensors["z"], latent.label, own)
    kept: dict[str, Tensor] = {}
    render_collage(G, latent, Collage(pasted=[item]), kept)
    assert torch.equal(kept["block4"][..., :16], own["block4"][..., :16])
    assert not torch.equal(kept["block4"][..., 16:], own["block4"][..., 16:])


def test_layers_and_modes_that_do_not_fit_are_named() -> None:
    G = generator()
    latent = codes(G)
    region = Region(box(32, 0, 16), layers={"block9.b1": 1.0})
    with pytest.raises(ValueError, match=r"there is no layer block9\.b1; the layers are block2\.b1, "):
        render_collage(G, latent, Collage([Repainted(region, latent.label)]))
    with pytest.raises(ValueError, match=r"needs generator\.eval\(\)"):
        render_collage(G.train(), latent, Collage())
