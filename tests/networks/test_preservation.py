"""What each term keeps: nothing is lost on the same image, and each sees what is its own."""

from __future__ import annotations

import pytest
import torch

from networks.critics import perceptual
from networks.identity import IdentityNetwork
from networks.preservation import IdentityPreservation, OutsideRegion, PerceptualPreservation, Preserved, Seen
from networks.segmentation import Head, head_for, predict_mask
from networks.segmentation.maps import render_maps
from networks.stylegan2 import Generator

SIZE = 32


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(SIZE, z_dim=8, w_dim=8, mapping_layers=2, mapping_lr_mult=1.0, channel_base=256,
                     channel_max=16).eval().requires_grad_(False)  # fmt: skip


def branch(generator: Generator) -> Head:
    return head_for(generator, "default", 3, members=2, width=8, hidden=8).eval()


def terms(generator: Generator) -> Preserved:
    torch.manual_seed(1)
    made = {
        "identity": IdentityPreservation(IdentityNetwork(SIZE, width=4)),
        "perceptual": PerceptualPreservation(perceptual("stlpips-alex")),
        "outside": OutsideRegion(branch(generator), [[1]]),
    }
    return Preserved(made, {"identity": 0.1, "perceptual": 1.0, "outside": 10.0})


def test_the_same_image_costs_nothing_and_another_does(generator: Generator) -> None:
    preserved = terms(generator)
    source = preserved.render(generator, generator.sample(2, seed=0), up_to=8)
    assert source.images.shape[-1] == SIZE  # the maps want the whole image
    kept = preserved.remember(source)
    other = preserved.render(generator, generator.sample(2, seed=1))
    same, far = preserved(source, kept), preserved(other, kept)
    assert same.keys() == far.keys() == {"identity", "perceptual", "outside"}
    for name, distance in same.items():
        assert distance.abs().max() < 1e-3  # sources are kept in half precision
        assert (far[name] > distance).all()


def test_without_maps_images_may_be_smaller(generator: Generator) -> None:
    preserved = Preserved({"identity": IdentityPreservation(IdentityNetwork(SIZE, width=4))}, {"identity": 1.0})
    assert preserved.render(generator, generator.sample(1, seed=0), up_to=16).images.shape[-1] == 16
    assert Preserved().remember(Seen(torch.zeros(1, 3, 8, 8))) == {}


def test_gradients_reach_images_and_no_network(generator: Generator) -> None:
    preserved = terms(generator)
    latent = generator.sample(2, seed=0)
    kept = preserved.remember(preserved.render(generator, latent))
    ws = (latent.tensors["ws"] + 0.5).requires_grad_()
    for distance in preserved(preserved.render(generator, latent.replace(ws=ws)), kept).values():
        (gradient,) = torch.autograd.grad(distance.sum(), ws, retain_graph=True)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
    assert not any(p.requires_grad for p in preserved.parameters())


@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_a_region_may_change_and_the_rest_may_not(generator: Generator, margin: float) -> None:
    head = branch(generator)
    images, maps = render_maps(generator, generator.sample(2, seed=0))
    mask = predict_mask(head, maps)
    inside = int(mask[0].flatten().bincount().argmax())  # a class that the images show
    term = OutsideRegion(head, [[inside]], margin)
    source = Seen(images, maps)
    kept = term.remember(source)
    painted = images.clone()
    painted.movedim(1, -1)[mask == inside] += 1.0  # the maps, and so the classes, are still the same
    assert term(Seen(painted, maps), kept).max() < 1e-3  # the sources are kept in half precision
    elsewhere = images.clone()
    elsewhere.movedim(1, -1)[mask != inside] += 1.0
    found = term(Seen(elsewhere, maps), kept)
    reach = (mask != inside).flatten(1).any(1)
    assert (found[reach] > 0.5).all() or margin > 0
    assert ((found < 1e-3) | reach).all()


def test_each_text_has_a_region_of_its_own(generator: Generator) -> None:
    head = branch(generator)
    images, maps = render_maps(generator, generator.sample(2, seed=0))
    one = int(predict_mask(head, maps)[0].flatten().bincount().argmax())
    regions = [[one], [k for k in range(3) if k != one]]
    term, source, moved = OutsideRegion(head, regions, 0.0), Seen(images, maps), Seen(images + 1.0, maps)
    kept = term.remember(source)
    for text, region in enumerate(regions):
        which = torch.tensor([text, text])
        alone = OutsideRegion(head, [region], 0.0)
        assert term(moved, kept, which).equal(alone(moved, alone.remember(source)))
    mixed = term(moved, kept, torch.tensor([0, 1]))
    assert mixed.equal(torch.stack([term(moved, kept)[0], term(moved, kept, torch.tensor([1, 1]))[1]]))


def test_outside_of_a_region_small_classes_count_as_much_as_large_ones(generator: Generator) -> None:
    head = branch(generator)
    images, maps = render_maps(generator, generator.sample(1, seed=0))
    (absent, *_) = {0, 1, 2} - set(predict_mask(head, maps).unique().tolist())
    small, large = (k for k in range(3) if k != absent)
    term = OutsideRegion(head, [[absent]], 0.0)
    source = term.remember(Seen(images, maps))["classes"].fill_(large)
    source[:, 2:6, 2:6] = small
    for changed in (small, large):
        painted = images + (source == changed)
        found = term(Seen(painted, maps), {"image": images, "classes": source})
        assert found.item() == pytest.approx(1 / 2, abs=1e-5)


def test_a_term_may_have_a_weight_for_each_text() -> None:
    terms = {name: IdentityPreservation(IdentityNetwork(SIZE, width=4)) for name in ("one", "each")}
    preserved = Preserved(terms, {"one": 2.0, "each": [3.0, 0.0, 5.0]})
    assert preserved.weights() == {"one": 2.0, "each": 3.0}
    found = preserved.weights(torch.tensor([2, 0, 1, 2]))
    assert found["one"] == 2.0
    assert found["each"].tolist() == [5.0, 3.0, 0.0, 5.0]


def test_what_makes_no_sense_is_refused(generator: Generator) -> None:
    with pytest.raises(ValueError, match=r"ids of classes below 3, got \[\[3\]\]"):
        OutsideRegion(branch(generator), [[3]])
    with pytest.raises(ValueError, match="needs ids"):
        OutsideRegion(branch(generator), [[1], []])
    with pytest.raises(ValueError, match="each term has a weight"):
        Preserved({}, {"identity": 1.0})
    term = OutsideRegion(branch(generator), [[1]])
    with pytest.raises(ValueError, match="there are none"):
        term.remember(Seen(torch.zeros(1, 3, SIZE, SIZE)))
