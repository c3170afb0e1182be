"""Inversion of a class-conditional GAN: z for a class that is given or found, from several starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from editors.inversion_cache import InversionCache
from editors.inversion_spaces import inversion_space, space_name
from editors.invert import InversionSettings, invert
from editors.likeness import Likeness, Weights
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import find_discriminator, load_generator, save_generator
from networks.latent import Latent
from networks.sngan import ConditionalGenerator, ProjectionDiscriminator
from networks.stylegan2 import LeanDiscriminator
from tests.editors.test_collage_editor import NAMES, conditional

FAST = InversionSettings(steps=3, samples=24, batch=4)


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> ConditionalGenerator:
    path = tmp_path_factory.mktemp("zoo") / "sngan.safetensors"
    return load_generator(save_generator(path, conditional(), {"label_names": NAMES}))


@pytest.fixture
def images(gan: ConditionalGenerator) -> Tensor:
    return gan.render(gan.sample(3, seed=99)).clamp(-1, 1)


def test_images_come_nearer_with_every_step(gan, critic, images) -> None:
    begun, found = (invert(gan, images, replace(FAST, steps=n), critic) for n in (0, 40))
    assert (found.psnr > begun.psnr + 1).all()
    assert found.settings.space == "z"
    assert found.latent.generator_hash == gan.hash
    torch.testing.assert_close(found.reconstruction, gan.render(found.latent).clamp(-1, 1))


def test_the_class_is_found(gan, critic) -> None:
    known = gan.sample(FAST.samples, FAST.seed)[[3, 13]]   # among those that are compared
    found = invert(gan, gan.render(known), replace(FAST, steps=1, delta=0.0), critic).latent
    assert torch.equal(found.label, known.label)
    torch.testing.assert_close(found.tensors["z"], known.tensors["z"], rtol=1e-4, atol=1e-4)


def test_a_given_class_is_kept(gan, critic, images) -> None:
    found = invert(gan, images, replace(FAST, label="dog"), critic).latent
    assert torch.equal(found.label, torch.eye(3)[[2, 2, 2]])


def test_more_starts_end_nowhere_worse(gan, critic, images) -> None:
    one, three = (invert(gan, images, replace(FAST, steps=10, starts=n, delta=0.0), critic) for n in (1, 3))
    loss = {n: 4 * 10 ** (-found.psnr / 10) + 0.1 * found.distance for n, found in ((1, one), (3, three))}
    assert (loss[3] <= loss[1] + 1e-6).all()
    alone = invert(gan, images[1:2], replace(FAST, steps=10, starts=3, delta=0.0), critic)
    torch.testing.assert_close(alone.latent.tensors["z"], three.latent.tensors["z"][1:2], rtol=1e-3, atol=1e-3)


def test_starts_are_of_different_classes_unless_one_is_given(gan) -> None:
    assert inversion_space(gan, "auto", 24).groups.unique().tolist() == [0, 1, 2]
    given = inversion_space(gan, "z", 24, label="cat")
    assert given.groups is None
    assert torch.equal(given.samples.label, torch.eye(3)[1].expand(24, -1))


def test_codes_lie_on_a_shell(gan) -> None:
    space = inversion_space(gan, "z", 24)
    on, mean = torch.full([1, 6], 1.0), torch.zeros(1, 6)
    assert space.prior([on]).item() == 0.0
    assert space.prior([mean]).item() == 1.0
    assert torch.equal(space.mean(2).tensors["z"], torch.zeros(2, 6))


def test_the_cache_keeps_the_class_too(gan, critic, images, tmp_path: Path) -> None:
    cache = InversionCache(tmp_path)
    first = invert(gan, images, FAST, critic, cache=cache)
    second = invert(gan, images, FAST, critic=None, cache=cache)
    assert torch.equal(first.latent.tensors["z"], second.latent.tensors["z"])
    assert torch.equal(first.latent.label, second.latent.label)
    kept = len(list(tmp_path.rglob("*.safetensors")))
    other = invert(gan, images, replace(FAST, label="cat"), critic, cache=cache)
    assert torch.equal(other.latent.label, torch.eye(3)[[1, 1, 1]])
    assert len(list(tmp_path.rglob("*.safetensors"))) == kept + 3
    starts = [Latent("z", first.latent.tensors, torch.eye(3)[[k] * 3]) for k in (0, 1)]
    begun = [invert(gan, images, FAST, critic, start=start, cache=cache) for start in starts]
    assert not torch.equal(begun[0].latent.label, begun[1].latent.label)


@pytest.fixture
def judged(gan, tmp_path: Path) -> ConditionalGenerator:
    """The same generator, with its discriminator beside it."""
    torch.manual_seed(5)
    discriminator = ProjectionDiscriminator(16, 3, [6, 8], flat=1)
    save_generator(tmp_path / "sngan.safetensors", gan, {"label_names": NAMES})
    save_generator(tmp_path / "sngan_discriminator.safetensors", discriminator, {"generator": {"hash": gan.hash}})
    return load_generator(tmp_path / "sngan.safetensors")


@pytest.mark.parametrize("layers", [(), ("block1", "block3"), ("all",)])
def test_the_discriminator_s_features_lead_to_what_it_sees(judged, critic, images, layers) -> None:
    alone = replace(FAST, steps=30, features=1.0, feature_layers=layers, pixel=0.0, perceptual=0.0, delta=0.0)
    begun, found = (invert(judged, images, replace(alone, steps=n), critic) for n in (0, 30))
    likeness = Likeness(Weights(0.0, 0.0, 1.0), critic, find_discriminator(judged), layers)
    losses = [likeness.loss(each.reconstruction, images, likeness.see(images)) for each in (begun, found)]
    assert (losses[1] < 0.5 * losses[0]).all()
    assert len(likeness.blocks) == (3 if layers == ("all",) else max(len(layers), 1))
    same = likeness.loss(images, images, likeness.see(images))
    torch.testing.assert_close(same, torch.zeros(3), atol=1e-6, rtol=0)


def test_inversions_by_features_are_kept_apart(judged, critic, images, tmp_path: Path) -> None:
    cache = InversionCache(tmp_path / "cache")
    kinds = [FAST, replace(FAST, features=1.0), replace(FAST, features=1.0, feature_layers=("block1",))]
    for kept, settings in enumerate([*kinds, replace(FAST, feature_layers=("block1",))], start=1):
        invert(judged, images, settings, critic, cache=cache)   # the last asks for layers of nothing
        assert len(list(cache.folder.rglob("*.safetensors"))) == 3 * min(kept, 3)


def test_features_need_a_discriminator_that_has_them(gan, judged, generator, critic, images) -> None:
    for network, settings, says in [
        (gan, replace(FAST, features=1.0), "lies neither beside it nor in the zoo"),
        (generator, replace(FAST, features=1.0), "lies neither beside it nor in the zoo"),
        (judged, replace(FAST, features=1.0, feature_layers=("block9",)), "no block block9; there are block1, block2"),
    ]:
        with pytest.raises(GanvasError, match=says):
            invert(network, images, settings, critic)
    beside = judged.path.with_name("sngan_discriminator.safetensors")
    save_generator(beside, LeanDiscriminator(16, channels=[4, 4]), {"generator": {"hash": judged.hash}})
    with pytest.raises(GanvasError, match="is for class-conditional GANs"):
        invert(judged, images, replace(FAST, features=1.0), critic)


def test_what_it_does_not_have_is_refused(gan, generator, critic, images) -> None:
    cases = [
        (lambda: space_name(gan, "w+"), GanvasError, "does not fit this generator: choose of z"),
        (lambda: invert(gan, images, replace(FAST, label="horse"), critic), GanvasError, "there is no class 'horse'"),
        (lambda: invert(generator, images, replace(FAST, label="dog"), critic), GanvasError, "=dog is for a class"),
        (lambda: replace(FAST, starts=0), GanvasError, "starts must be at least 1"),
        (lambda: invert(gan, images, FAST, critic, start=Latent("z", {"z": torch.zeros(3, 6)})), ValueError,
         "in z with a label"),
    ]  # fmt: skip
    for call, error, says in cases:
        with pytest.raises(error, match=says):
            call()


def test_w_plus_may_begin_in_several_places_as_well(generator, critic, images) -> None:
    one, four = (invert(generator, images, replace(FAST, steps=8, starts=n, delta=0.0), critic) for n in (None, 4))
    loss = [4 * 10 ** (-found.psnr / 10) + 0.1 * found.distance for found in (one, four)]
    assert (loss[1] <= loss[0] + 1e-6).all()
