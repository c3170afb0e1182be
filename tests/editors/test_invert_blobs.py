"""Inversion of a BlobGAN: by its blobs and by its hidden code, from every start, and into an edit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from editors import BlobEditor, load
from editors.inversion_cache import InversionCache
from editors.inversion_spaces import HiddenCodes, Layouts, inversion_space, space_name
from editors.invert import InversionSettings, invert
from networks.blobgan import BlobGenerator, Layout
from networks.checkpoints.encoders import save_encoder
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator, save_generator
from networks.latent import Latent
from networks.stylegan2 import LeanEncoder
from tests.networks.test_blobgan import made

FAST = InversionSettings(steps=3, samples=16, batch=4)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = made(own_opacity=True, depth="learned")
    mean = generator.layout_network.hidden(torch.randn(64, 16, generator=torch.Generator().manual_seed(1))).mean(0)
    generator.layout_network.hidden_avg.copy_(mean)
    return save_generator(tmp_path_factory.mktemp("blobs") / "blobgan.safetensors", generator, {})


@pytest.fixture(scope="module")
def blobgan(bundle: Path) -> BlobGenerator:
    return load_generator(bundle)


@pytest.fixture
def images(blobgan: BlobGenerator) -> Tensor:
    return blobgan.render(blobgan.sample(3, seed=99)).clamp(-1, 1)


@pytest.mark.parametrize("space", ["auto", "w"])
@pytest.mark.parametrize("start", ["nearest", "mean"])
def test_scenes_come_back_as_layouts_nearer_with_every_step(space: str, start: str, blobgan, critic, images) -> None:
    settings = replace(FAST, space=space, start=start)
    begun, found = (invert(blobgan, images, replace(settings, steps=n), critic) for n in (0, 40))
    assert (found.psnr > begun.psnr + 1).all()
    assert found.latent.space == "layout"
    assert found.latent.generator_hash == blobgan.hash
    assert found.settings.space == ("layout" if space == "auto" else "w")
    torch.testing.assert_close(found.reconstruction, blobgan.render(found.latent).clamp(-1, 1))


def test_what_blobs_must_be_they_are(blobgan, critic, images) -> None:
    begin = blobgan.sample(3, seed=5)
    found = invert(blobgan, images, replace(FAST, steps=20), critic, start=begin).latent
    layout, before = Layout.of(found), Layout.of(begin)
    torch.testing.assert_close(layout.angle.norm(dim=2), torch.ones(3, 3))
    for features in (layout.structure, layout.style):
        torch.testing.assert_close(features.square().mean(2), torch.ones(3, 4), atol=1e-3, rtol=0)
    assert layout.opacity.gt(0).all()
    assert layout.opacity.lt(1).all()
    assert torch.equal(layout.depth, before.depth)             # the order is the start's
    for name in ("centre", "size", "log_aspect", "angle", "structure", "style", "opacity"):
        assert not torch.allclose(getattr(layout, name), getattr(before, name), atol=1e-4), name
    assert "hidden" not in found.tensors                       # no code has these blobs


def test_a_scene_in_w_has_the_code_that_it_comes_from(blobgan, critic, images) -> None:
    found = invert(blobgan, images, replace(FAST, space="w"), critic).latent
    again = blobgan.layout_network.layout(found.tensors["hidden"])
    torch.testing.assert_close(Layout.of(found).centre, again.centre)
    torch.testing.assert_close(Layout.of(found).style, again.style)


@pytest.mark.parametrize("name", ["layout", "w"])
def test_free_numbers_are_the_codes(name, blobgan) -> None:
    space, samples = inversion_space(blobgan, name, 64, 0), blobgan.sample(4, seed=8)
    free = space.free(samples)
    again = Layout.of(space.latent(free, samples)).tensors()
    for part, tensor in Layout.of(samples).tensors().items():
        torch.testing.assert_close(again[part], tensor, atol=1e-4, rtol=1e-4)
    spread = torch.cat([values.flatten() for values in space.free(space.samples)]).std()
    assert 0.5 < spread < 2.0                                  # they are in units of how samples vary
    assert (space.prior(space.free(space.mean(4))) < space.prior(free)).all()


def test_sizes_move_faster(blobgan, critic, images) -> None:
    begin, settings = blobgan.sample(3, seed=5), replace(FAST, steps=2, rate=1e-3, ramp_up=0.0, ramp_down=0.0)
    space = inversion_space(blobgan, "layout", FAST.samples, FAST.seed)
    moved = []
    for factor in (1.0, 3.0):
        found = invert(blobgan, images, replace(settings, size_rate=factor), critic, start=begin).latent
        pairs = zip(space.free(found), space.free(begin), strict=True)
        moved.append([(a - b).abs().amax().item() for a, b in pairs])
    size = 1                                                   # after the centre
    assert moved[1][size] == pytest.approx(3 * moved[0][size], rel=0.05)
    assert moved[1][0] == pytest.approx(moved[0][0], rel=0.05)


@pytest.mark.parametrize(("space", "start"), [("layout", "auto"), ("w", "encoder")])
def test_the_encoder_of_hidden_codes_is_where_it_begins(
    space, start, blobgan, critic, images, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("GANVAS_ZOO", str(tmp_path))
    encoder = LeanEncoder(32, 24, channels=[4, 4, 4])
    save_encoder(tmp_path / "encoder.safetensors", encoder, blobgan.hash, {})
    begun = invert(blobgan, images, replace(FAST, space=space, start=start, steps=0), critic).latent
    with torch.no_grad():
        expected = blobgan.latent_of(encoder(images))
    torch.testing.assert_close(begun.tensors["centre"], expected.tensors["centre"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(begun.tensors["style"], expected.tensors["style"], atol=1e-3, rtol=1e-3)


def test_the_search_finds_the_sample_that_the_scene_is(blobgan, critic) -> None:
    samples = blobgan.sample(FAST.samples, FAST.seed)[[3, 12]]
    found = invert(blobgan, blobgan.render(samples), replace(FAST, steps=0), critic).latent
    for name, tensor in Layout.of(found).tensors().items():
        torch.testing.assert_close(tensor, samples.tensors[name], atol=1e-4, rtol=1e-4)


def test_the_cache_knows_what_the_result_depends_on(blobgan, critic, images, tmp_path) -> None:
    class Counted(InversionCache):
        kept = 0

        def put(self, *arguments) -> None:
            self.kept += 1
            super().put(*arguments)

    cache = Counted(tmp_path)

    def computed(settings: InversionSettings, start: Latent | None = None) -> int:
        before = cache.kept
        invert(blobgan, images[:1], settings, critic, cache=cache, start=start)
        return cache.kept - before

    assert computed(FAST) == 1
    assert computed(replace(FAST, space="layout", noise_weight=3.0)) == 0   # auto is layout
    assert computed(replace(FAST, size_rate=3.0)) == 1
    assert computed(replace(FAST, space="w")) == 1
    assert computed(replace(FAST, space="w", size_rate=3.0)) == 0           # of blobs alone
    begin = blobgan.sample(1, seed=5)
    assert computed(FAST, begin) == 1
    assert computed(FAST, Layout.of(begin).latent(blobgan.hash)) == 0       # blobs do not begin at a code
    assert computed(FAST, blobgan.sample(1, seed=6)) == 1


def test_a_kept_layout_is_the_one_that_was_found(blobgan, critic, images, tmp_path) -> None:
    cache = InversionCache(tmp_path)
    first, again = (invert(blobgan, images, FAST, critic, cache=cache).latent for _ in range(2))
    assert first.tensors.keys() == again.tensors.keys()
    assert all(torch.equal(first.tensors[name], again.tensors[name]) for name in first.tensors)


def test_a_real_scene_is_edited(bundle, critic, images) -> None:
    editor = load(bundle)
    assert isinstance(editor, BlobEditor)
    found = invert(editor.generator, images, FAST, critic)
    edited = editor.edit(found.latent, "move 1 0.2 0")
    torch.testing.assert_close(edited.after.tensors["centre"][:, 1, 0], found.latent.tensors["centre"][:, 1, 0] + 0.2)


def test_a_space_that_a_generator_does_not_have_is_refused(blobgan, generator, critic, images) -> None:
    with pytest.raises(GanvasError, match=r"space=w\+ does not fit this generator: choose of layout, w"):
        invert(blobgan, images, replace(FAST, space="w+"), critic)
    with pytest.raises(GanvasError, match=r"space=layout does not fit this generator: choose of w\+, w"):
        space_name(generator, "layout")


def test_codes_that_lead_nowhere_are_no_start(blobgan, critic, images) -> None:
    layouts, hidden = Layouts(blobgan, 16, 0, 1.0), HiddenCodes(blobgan, 16, 0)
    with pytest.raises(ValueError, match=r"starts in w or layout, not in w\+"):
        layouts.of(Latent("w+", {"ws": torch.zeros(1, 2, 3)}))
    scene = Layout.of(blobgan.sample(1, 0))
    with pytest.raises(ValueError, match="these layouts have none"):
        hidden.of(scene.latent())
    with pytest.raises(ValueError, match="layouts of 3 blobs, and these have 2"):
        layouts.of(scene.take([0, 1]).latent())
