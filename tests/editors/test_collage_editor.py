"""The collage editor: what is painted and pasted is drawn, recorded and drawn again, or refused where it is nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from editors import CollageEditor, Transform, load, load_collage, load_edit, save_collage, save_edit
from editors.generator import GeneratorEditor
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator, save_generator
from networks.latent import Latent
from networks.sngan import ConditionalGenerator
from networks.stylegan2 import Generator

NAMES = ["bear", "cat", "dog"]
SIZE = 16


def conditional(seed: int = 0) -> ConditionalGenerator:
    """Random weights, whose classes look different."""
    torch.manual_seed(seed)
    generator = ConditionalGenerator(SIZE, len(NAMES), [8, 6, 4], z_dim=6)
    for norm, _ in generator.synthesis.norms.values():
        norm.gammas.data.add_(0.5 * torch.randn_like(norm.gammas))
        norm.betas.data.normal_(0, 0.5)
        norm.running_var.uniform_(0.5, 2)
    return generator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("collage")
    save_generator(made / "sngan.safetensors", conditional(), {"label_names": NAMES})
    torch.manual_seed(1)
    style = Generator(SIZE, z_dim=8, w_dim=8, c_dim=3, mapping_layers=2, channel_base=256, channel_max=16)
    save_generator(made / "stylegan2.safetensors", style, {"label_names": NAMES})
    return made


@pytest.fixture(scope="module", params=["sngan", "stylegan2"])
def editor(request, folder: Path) -> CollageEditor:
    return CollageEditor(load_generator(folder / f"{request.param}.safetensors"))


@pytest.fixture(scope="module")
def sngan(folder: Path) -> CollageEditor:
    return load(folder / "sngan.safetensors")


def left(columns: int = 6) -> Tensor:
    mask = torch.zeros(SIZE, SIZE)
    mask[:, :columns] = 1
    return mask


def test_a_conditional_gan_s_bundle_has_its_editor_and_names(sngan: CollageEditor, folder: Path) -> None:
    assert type(sngan) is CollageEditor
    assert sngan.classes == tuple(NAMES)
    assert type(load(folder / "stylegan2.safetensors")) is GeneratorEditor
    unnamed = CollageEditor(conditional().eval())
    assert unnamed.classes == ("0", "1", "2")
    assert CollageEditor(Generator(SIZE, z_dim=4, w_dim=4, mapping_layers=1, channel_base=64).eval()).classes == ()


def test_a_region_takes_a_class_and_the_rest_stays_beyond_its_reach(editor: CollageEditor) -> None:
    latent = editor.sample(3)
    last = list(editor.stages.layers)[-1]
    step = editor.paint("dog", left(), layers={last: 1.0})
    edited = editor.edit(latent, [step])
    assert torch.equal(edited.region, left().expand(3, -1, -1))
    assert torch.equal(edited.image_before[..., 9:], edited.image[..., 9:])   # beyond what two convolutions reach
    assert (edited.inside > 10 * edited.outside).any()
    assert edited.figures()["region"] == pytest.approx(6 / 16)
    assert torch.equal(editor.edit(latent, [step], strength=0.0).image, edited.image_before)


def test_a_whole_class_is_that_class(sngan: CollageEditor) -> None:
    latent = sngan.sample(3)
    edited = sngan.edit(latent, [sngan.paint("cat")])
    other = Latent("z", latent.tensors, torch.eye(3)[[1, 1, 1]])
    torch.testing.assert_close(edited.image, sngan.render(other), rtol=1e-5, atol=1e-6)
    mixed = sngan.edit(latent, [sngan.paint(torch.tensor([0.0, 0.5, 0.5]))])
    torch.testing.assert_close(
        mixed.image, sngan.render(Latent("z", latent.tensors, torch.tensor([[0.0, 0.5, 0.5]]).repeat(3, 1))),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip


def test_on_stylegan2_a_region_takes_codes(folder: Path) -> None:
    editor = CollageEditor(load_generator(folder / "stylegan2.safetensors"))
    latent, others = editor.sample(2), editor.sample(2, seed=7)
    whole = editor.edit(latent, [editor.paint(others)])
    torch.testing.assert_close(whole.image, editor.render(others), rtol=1e-4, atol=1e-5)
    same = editor.edit(latent, [editor.paint("cat", left())])
    again = editor.edit(latent, [editor.paint(editor.of_class("cat"), left())])
    assert torch.equal(same.image, again.image)
    one, other = (editor.of_class(name, 2, seed=3) for name in ("cat", "dog"))
    assert not torch.equal(one.tensors["ws"], other.tensors["ws"])


def test_features_of_another_picture_are_pasted_where_they_are_wanted(editor: CollageEditor) -> None:
    latent, other = editor.sample(2), editor.sample(1, seed=5)
    itself = editor.edit(latent, [editor.paste(latent, left())])
    assert torch.equal(itself.image, itself.image_before)
    moved = editor.edit(latent, [editor.paste(other, left(), transform=Transform(right=0.25))])
    assert torch.equal(moved.region[0, 0], torch.tensor([0.0] * 4 + [1.0] * 2 + [0.0] * 10))   # nothing is beyond
    assert moved.figures()["inside"] > 0
    finest = editor.stages.blends[-1]
    near = editor.edit(latent, [editor.paste(other, left(), layers={finest: 1.0})])
    assert torch.equal(near.image[..., 8:], near.image_before[..., 8:])


def test_the_order_of_steps_means_nothing_and_both_kinds_go_together(editor: CollageEditor) -> None:
    latent, other = editor.sample(2), editor.sample(1, seed=5)
    steps = [
        editor.paint("cat", left(), feather=0.05), editor.paint("dog", 1 - left(), strength=0.5),
        editor.paste(other, left(4), painted=[editor.paint("bear")], layers="all but the first"),
    ]  # fmt: skip
    forth, back = (editor.edit(latent, order) for order in (steps, steps[::-1]))
    torch.testing.assert_close(forth.image, back.image, rtol=1e-4, atol=1e-5)
    alone = editor.edit(latent, steps[:2])
    assert not torch.equal(forth.image, alone.image)


def test_a_collage_is_recorded_and_drawn_again(editor: CollageEditor, tmp_path: Path) -> None:
    latent, other = editor.sample(2), editor.sample(2, seed=5)
    program = editor.program([
        editor.paint("cat", left(), 0.7, 0.05, "first"),
        editor.paste(
            other, 1 - left(), transform=Transform(0.1, -0.1, 1.2, True), painted=[editor.paint("dog", left())]
        ),
    ], preserve_variance=True)  # fmt: skip
    drawn = editor.edit(latent, program)
    found = load_collage(save_collage(tmp_path / "c.safetensors", program, {"command": "x"}))
    assert torch.equal(editor.edit(latent, found).image, drawn.image)
    assert found.config() == program.config()
    assert found.generator_hash == editor.generator.hash
    strengths = editor.morph(latent, found, [0.0, 0.5, 1.0])
    assert torch.equal(strengths[0], drawn.image_before)
    assert torch.equal(strengths[2], drawn.image)
    assert not torch.equal(strengths[1], strengths[2])


def test_pictures_are_drawn_alike_in_parts(editor: CollageEditor, monkeypatch: pytest.MonkeyPatch) -> None:
    latent = editor.sample(5)
    masks = torch.stack([left(columns) for columns in range(1, 6)])
    steps = [editor.paint("cat", masks), editor.paste(editor.sample(5, seed=3), 1 - masks)]
    whole = editor.edit(latent, steps)
    monkeypatch.setattr("editors.collage.BATCH", 2)
    torch.testing.assert_close(editor.edit(latent, steps).image, whole.image, rtol=1e-4, atol=1e-5)


def test_a_whole_picture_s_change_is_an_edit_of_codes(editor: CollageEditor, tmp_path: Path) -> None:
    latent = editor.sample(3)
    steps = [editor.paint("dog", strength=0.8)]
    edit = load_edit(save_edit(tmp_path / "e.safetensors", editor.latent_edit(steps)))
    for strength in (0.0, 0.5, 1.0):
        drawn = editor.edit(latent, steps, strength).image
        torch.testing.assert_close(editor.render(edit.apply(latent, strength)), drawn, rtol=1e-4, atol=1e-5)
    twice = (edit + edit).apply(latent)
    assert torch.equal(editor.render(twice), editor.render(edit.apply(edit.apply(latent))))
    torch.testing.assert_close(editor.render((edit * 0.5).apply(latent)), editor.render(edit.apply(latent, 0.5)))
    with pytest.raises(ValueError, match="one after another"):
        edit.beside(edit)


def test_what_differs_from_pixel_to_pixel_or_layer_to_layer_is_none(editor: CollageEditor) -> None:
    assert editor.latent_edit([editor.paint("dog", left())]) is None
    assert editor.latent_edit([editor.paint("dog", layers="first")]) is None
    assert editor.latent_edit([editor.paste(editor.sample(1))]) is None


def test_a_map_s_ids_are_regions(sngan: CollageEditor) -> None:
    ids = np.zeros((SIZE, SIZE), np.uint8)
    ids[:, :4], ids[:, 12:], ids[0, 8] = 1, 2, 9
    steps = sngan.paint_map(ids, ["dog", "cat", "bear"], feather=0.02)
    assert [step.name for step in steps] == ["dog", "cat"]
    assert torch.equal(steps[1].mask[0], torch.as_tensor(ids == 2).float())
    with pytest.raises(GanvasError, match="the class map is empty"):
        sngan.paint_map(np.zeros((SIZE, SIZE), np.uint8), ["dog"])


def test_masks_come_from_files(sngan: CollageEditor, tmp_path: Path) -> None:
    grey = (left().numpy() * 255).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.repeat(grey[..., None], 3, -1)).save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack([grey] * 3 + [np.full_like(grey, 255)])).save(tmp_path / "rgba.png")
    index = Image.fromarray((grey > 0).astype(np.uint8))
    index.putpalette([0, 0, 0, 200, 10, 10])
    index.save(tmp_path / "index.png")
    for name in ("grey", "rgb", "rgba", "index"):
        assert torch.equal(sngan.paint("cat", tmp_path / f"{name}.png").mask[0], left())


def refused_masks(folder: Path) -> dict[str, Path | Tensor]:
    """Masks that cannot be used, by what is said of them."""
    pictures = {
        "is 20x20": np.full((20, 20), 255, np.uint8), "is empty": np.full((SIZE, SIZE), 9, np.uint8),
        "covers everything": np.full((SIZE, SIZE), 255, np.uint8),
        "has colours": np.full((SIZE, SIZE, 3), (0, 255, 0), np.uint8),
        "partly transparent": np.full((SIZE, SIZE, 4), 128, np.uint8),
    }  # fmt: skip
    found: dict[str, Path | Tensor] = {"from 0 to 1": 2 * left(), "is empty: paint where": torch.zeros(SIZE, SIZE)}
    for i, (says, pixels) in enumerate(pictures.items()):
        Image.fromarray(pixels).save(folder / f"{i}.png")
        found[says] = folder / f"{i}.png"
    return found


def test_masks_that_cannot_be_used_are_refused(sngan: CollageEditor, tmp_path: Path) -> None:
    for says, mask in refused_masks(tmp_path).items():
        with pytest.raises(GanvasError, match=says):
            sngan.paint("cat", mask)


def test_what_means_nothing_is_refused(sngan: CollageEditor, folder: Path) -> None:
    latent, other = sngan.sample(3), CollageEditor(load_generator(folder / "stylegan2.safetensors"))
    foreign = Latent("z", latent.tensors, latent.label, "f" * 64)
    cases = [
        (lambda: sngan.paint("horse"), "there is no class 'horse'; there are bear, cat, dog"),
        (lambda: sngan.paint("cat", layers={"block9": 1.0}), "there is no layer block9; the layers are block2.b1"),
        (lambda: sngan.paint("cat", layers={"block2": 0.0}), "no layer heeds"),
        (lambda: sngan.paint("cat", layers="some"), "must be all, first, all but the first"),
        (lambda: sngan.paint("cat", strength=1.5), "from 0 to 1, got strength=1.5"),
        (lambda: sngan.paint("cat", left(), feather=-1.0), "soft edge must be from 0"),
        (lambda: sngan.paint(torch.ones(5)), r"finite numbers \[3\], got \[5\]"),
        (lambda: sngan.paste(foreign), "belong to generator ffffffffffff"),
        (lambda: sngan.paste(Latent("z", latent.tensors)), "must have labels of 3 classes"),
        (lambda: sngan.paste(other.sample(1)), "belong to generator|are codes in w"),
        (lambda: sngan.edit(foreign, [sngan.paint("cat")]), "belong to generator ffffffffffff"),
        (lambda: sngan.edit(latent, []), "a collage needs a step"),
        (lambda: sngan.edit(latent, [sngan.paste(sngan.sample(2))]), "has 2 codes for 3 pictures"),
        (lambda: sngan.edit(latent, [sngan.paint("cat", left(9)), sngan.paint("dog", 1 - left(6))]),
         "cat and dog overlap in 48 pixels"),
        (lambda: sngan.edit(latent, [sngan.paint("cat")], strength=2.0), "from 0 to 1, got strength=2"),
        (lambda: sngan.edit(latent, other.program([other.paint("cat")])), "the collage belongs to generator"),
        (lambda: other.paint(sngan.sample(1)), "belong to generator"),
        (lambda: other.paint(Latent("s", {"b4.conv1": torch.zeros(1, 3)})), "painted with codes in w"),
        (lambda: load_collage(folder / "sngan.safetensors"), "of kind 'sngan', not a collage"),
    ]  # fmt: skip
    for call, says in cases:
        with pytest.raises(GanvasError, match=says):
            call()


def test_regions_may_overlap_in_different_layers(sngan: CollageEditor) -> None:
    steps = [sngan.paint("cat", left(9), layers="first"), sngan.paint("dog", 1 - left(6), layers="all but the first")]
    assert sngan.edit(sngan.sample(1), steps).figures()["region"] == pytest.approx(1.0)
