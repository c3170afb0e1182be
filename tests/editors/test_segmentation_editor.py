"""A segmentation bundle opens in one line, finds its own generator, and refuses what is not its own."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.folder import read_folder
from editors import GeneratorEditor, InversionCache, InversionSettings, SegmentationEditor, load
from networks.checkpoints.bundle import read_bundle, save_bundle
from networks.checkpoints.classes import IGNORE, IGNORE_COLOR
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.heads import save_head
from networks.checkpoints.masks import read_mask
from networks.segmentation import head_for, predict

CLASSES = {"names": ["background", "hair", "skin"], "palette": [[0, 0, 0], [200, 30, 30], [30, 200, 30]]}
FAST = InversionSettings(steps=2, samples=8, batch=4)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANVAS_ZOO", raising=False)


def exported(folder: Path, generator, include_generator: bool = True) -> Path:
    head = head_for(generator, "linear", num_classes=3, seed=1, members=2)
    return save_head(
        folder / "segmentation.safetensors", head, generator, CLASSES, asdict(FAST),
        {"licence": "CC0-1.0", "metrics": {"miou": 0.5}}, include_generator,
    )  # fmt: skip


def test_a_latent_is_segmented_as_the_head_says(generator, tmp_path: Path) -> None:
    editor = load(exported(tmp_path, generator))
    assert isinstance(editor, SegmentationEditor)
    latent = generator.sample(5, seed=3)
    result = editor.segment(latent, batch=2)
    image, features = generator.render(latent, features=True)
    expected = predict(head_for(generator, "linear", num_classes=3, seed=1, members=2).eval(), features)
    assert torch.equal(result.mask, expected.mask)
    torch.testing.assert_close(result.probabilities, expected.probabilities, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.uncertainty, expected.disagreement, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(result.image, image.clamp(-1, 1), rtol=1e-4, atol=1e-4)
    assert result.inversion is None
    assert result.classes.names == ("background", "hair", "skin")


def test_an_image_is_the_same_in_every_form(generator, tmp_path: Path) -> None:
    editor = load(exported(tmp_path, generator))
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    forms = [tmp_path / "photo.png", str(tmp_path / "photo.png"), Image.fromarray(pixels), pixels, tensor,
             tensor[None], tensor.float() / 127.5 - 1]  # fmt: skip
    results = [editor.segment(form, progress=False) for form in forms]
    assert all(torch.equal(result.mask, results[0].mask) for result in results)
    assert results[0].mask.shape == (1, 16, 16)
    assert results[0].inversion.settings == replace(FAST, space="w+")  # the space that was searched
    torch.testing.assert_close(results[0].image[0], tensor.float() / 127.5 - 1)
    together = editor.segment(forms[:2], progress=False)
    assert torch.equal(together.mask[1], results[0].mask[0])


def test_masks_are_written_with_their_palette(generator, tmp_path: Path) -> None:
    result = load(exported(tmp_path, generator)).segment(generator.sample(2, seed=0))
    paths = result.save_png(tmp_path / "masks")
    assert [path.name for path in paths] == ["0000.png", "0001.png"]
    for path, mask, painted in zip(paths, result.mask, result.painted(), strict=True):
        picture = Image.open(path)
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), mask.numpy())
        assert np.array_equal(np.asarray(picture.convert("RGB")), painted)
    assert result.save_png(tmp_path, names=["a", "b"])[1] == tmp_path / "b.png"


def test_ignored_pixels_are_painted_and_written_too(generator, tmp_path: Path) -> None:
    result = load(exported(tmp_path, generator)).segment(generator.sample(1, seed=0))
    result.mask[0, :4] = IGNORE
    assert (result.painted()[0][:4] == IGNORE_COLOR).all()
    (path,) = result.save_png(tmp_path)
    assert np.array_equal(read_mask(path, result.classes), result.mask[0].numpy())


@pytest.mark.parametrize("size", [(16, 16), (48, 48), (40, 28), (9, 30), (8, 5)])
def test_a_photo_of_any_size_gets_masks_of_its_size(generator, tmp_path: Path, size: tuple[int, int]) -> None:
    editor = load(exported(tmp_path, generator))
    (tmp_path / "photos").mkdir()
    photo = tmp_path / "photos" / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)).save(photo)
    result = editor.segment(photo, progress=False)
    as_trained = read_folder(tmp_path / "photos", resolution=16)
    assert torch.equal(result.image, torch.from_numpy(as_trained.images) / 127.5 - 1)
    _, _, height, width = as_trained.valid[0]
    assert result.mask.shape == (1, 16, 16)
    assert (result.mask != IGNORE).sum() == height * width
    (mask,) = result.photo_masks()
    assert mask.shape == size
    assert set(np.unique(mask)) <= {0, 1, 2}
    if size == (48, 48):   # the middle of each block of three shows the pixel itself
        assert np.array_equal(mask[1::3, 1::3], result.mask[0].numpy())
    (path,) = result.save_png(tmp_path / "masks")
    assert np.array_equal(read_mask(path, result.classes), mask)
    assert result.painted()[0].shape == (*size, 3)


def test_photos_of_several_sizes_go_together(generator, tmp_path: Path) -> None:
    editor, rng = load(exported(tmp_path, generator)), np.random.default_rng(0)
    photos = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((20, 30), (16, 16))]
    result = editor.segment(photos, progress=False)
    assert [mask.shape for mask in result.photo_masks()] == [(20, 30), (16, 16)]
    assert np.array_equal(result.photo_masks()[1], result.mask[1].numpy())


def test_a_rotated_photograph_is_read_as_it_is_shown(generator, tmp_path: Path) -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8))
    photo.getexif()[0x0112] = 6   # shown after a quarter turn
    photo.save(tmp_path / "photo.png", exif=photo.getexif())
    editor = load(exported(tmp_path, generator))
    path, opened = (editor.segment(form, progress=False) for form in
                    (tmp_path / "photo.png", Image.open(tmp_path / "photo.png")))  # fmt: skip
    assert path.photo_masks()[0].shape == (24, 16)
    assert torch.equal(path.image, opened.image)


def test_the_generator_is_found_beside_the_bundle(generator, generator_file: Path, tmp_path: Path) -> None:
    path = exported(tmp_path, generator, include_generator=False)
    with pytest.raises(GanvasError, match=f"needs the generator {generator.hash[:12]}"):
        load(path)
    latent = generator.sample(1, seed=0)
    given = load(path, generator=generator_file).segment(latent)
    shutil.copy(generator_file, tmp_path / "other-name.safetensors")
    assert torch.equal(load(path).segment(latent).mask, given.mask)
    assert torch.equal(load(path, generator=generator).segment(latent).mask, given.mask)


def test_another_generator_is_refused(generator, other_generator_file: Path, tmp_path: Path) -> None:
    path = exported(tmp_path, generator)
    other = load_generator(other_generator_file)
    with pytest.raises(GanvasError, match=f"belongs to generator {generator.hash[:12]}.*given is {other.hash[:12]}"):
        load(path, generator=other_generator_file)
    with pytest.raises(GanvasError, match="these latents belong to generator"):
        load(path).segment(other.sample(1, seed=0))


def test_a_generator_bundle_gives_a_generator_editor(generator, generator_file: Path) -> None:
    editor = load(generator_file)
    assert isinstance(editor, GeneratorEditor)
    latent = editor.sample(3, seed=4)
    assert torch.equal(latent.tensors["ws"], generator.sample(3, seed=4).tensors["ws"])
    images = editor.render(latent, batch=2)
    assert images.shape == (3, 3, 16, 16)
    assert images.abs().max() <= 1
    found = editor.invert(images, FAST, progress=False)
    assert len(found.latent) == 3
    with pytest.raises(GanvasError, match="there are no images"):
        editor.invert([])
    assert len(list(InversionCache().folder.rglob("*.safetensors"))) == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "latents"}, "no editor for .* kind 'latents'; there are for stylegan2, blobgan, sngan, segmentation"),
        ({"config": {"head": "nothing", "arguments": {}}}, "no segmentation head 'nothing'"),
        ({"config": {}}, "does not describe a segmentation head"),
        ({"classes": {"names": ["a"]}}, "no class names and palette"),
        ({"generator": {}}, "does not name its generator"),
        ({"inversion": {"warp": 9}}, "an inversion that this version does not know .*warp"),
    ],
)
def test_a_manifest_that_does_not_fit_is_one_sentence(generator, tmp_path: Path, change: dict, sentence: str) -> None:
    bundle = read_bundle(exported(tmp_path, generator))
    path = save_bundle(tmp_path / "broken.safetensors", bundle.tensors, {**bundle.manifest, **change})
    with pytest.raises(GanvasError, match=sentence):
        load(path)


def test_missing_head_weights_are_named(generator, tmp_path: Path) -> None:
    bundle = read_bundle(exported(tmp_path, generator))
    name, *_ = bundle.without_generator()
    kept = {key: tensor for key, tensor in bundle.tensors.items() if key != name}
    with pytest.raises(GanvasError, match=rf"the head in .* 1 missing \({name}\)"):
        load(save_bundle(tmp_path / "broken.safetensors", kept, bundle.manifest))


def test_a_class_list_of_another_length_is_not_exported(generator, tmp_path: Path) -> None:
    head = head_for(generator, "linear", num_classes=2, members=1)
    with pytest.raises(ValueError, match="2 classes and the list 3"):
        save_head(tmp_path / "a.safetensors", head, generator, CLASSES, {}, {})
