"""Avatars: the same seed gives the same avatar, splits share none, masks fit their images, labels cover every class."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.avatar_cache import AvatarCache
from datamodules.avatar_captions import caption, color_name
from datamodules.avatar_masks import PART_CLASSES, drawn_classes, majority
from datamodules.avatar_parts import DISTRIBUTIONS, avatar_rng, draw_background, draw_options
from datamodules.avatar_render import AvatarAddress, draw_avatar, render_avatar, style_definition
from datamodules.avatars import AVATAR_CLASSES, SPLITS, render_avatars, stratified_labels
from datamodules.folder import read_folder, write_folder
from networks.checkpoints.errors import GanvasError

AVATAAARS = DISTRIBUTIONS["avataaars"]


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("labels")))
        yield stratified_labels(seed=3, n=16, pool=96, progress=False)


def quiet(count: int, *args, **kwargs):
    return render_avatars(count, *args, progress=False, **kwargs)


def test_the_same_address_gives_the_same_avatar(fresh_cache: Path) -> None:
    first = quiet(3, "train", seed=1, masks=True)
    for file in (fresh_cache / "avatars").iterdir():
        file.unlink()
    second = quiet(3, "train", seed=1, masks=True)
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.masks, second.masks)
    assert first.attributes == second.attributes


def test_a_larger_count_extends_a_smaller_one() -> None:
    few, many, few_again = quiet(2), quiet(5), quiet(3)
    np.testing.assert_array_equal(many.images[:2], few.images)
    np.testing.assert_array_equal(few_again.images, many.images[:3])
    assert few_again.captions == many.captions[:3]
    np.testing.assert_array_equal(quiet(2, masks=True).images, few.images)


def test_worker_processes_change_nothing(monkeypatch: pytest.MonkeyPatch, fresh_cache: Path) -> None:
    alone = quiet(40, resolution=8, workers=1)
    for file in (fresh_cache / "avatars").iterdir():
        file.unlink()
    monkeypatch.setattr("datamodules.avatars._POOL_FROM", 2)
    together = quiet(40, resolution=8, workers=2)
    np.testing.assert_array_equal(together.images, alone.images)
    assert together.attributes == alone.attributes


def test_splits_and_seeds_share_no_avatar() -> None:
    drawn = [
        draw_avatar(AvatarAddress("avataaars", split, seed, i)).svg + draw_background(AVATAAARS, rng)
        for split in SPLITS for seed in (0, 1) for i in range(40)
        for rng in [avatar_rng("avataaars", split, seed, i)]
    ]
    assert len(set(drawn)) == len(drawn)


def test_a_damaged_cache_is_rendered_again(fresh_cache: Path) -> None:
    before = quiet(2)
    [file] = (fresh_cache / "avatars").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(quiet(2).images, before.images)
    assert [p.name for p in (fresh_cache / "avatars").iterdir()] == [file.name]   # nothing half-written is left


def test_a_cache_that_cannot_be_written_costs_only_time(fresh_cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    fresh_cache.write_text("a file where a folder should be", encoding="utf-8")
    assert len(quiet(2)) == 2
    assert "set GANVAS_CACHE" in caplog.text


def test_settings_have_their_own_cache_files() -> None:
    settings_ = [("avataaars", "train", 0, 64, False), ("avataaars", "train", 1, 64, False),
                 ("avataaars", "labels", 0, 64, False), ("avataaars", "train", 0, 32, False),
                 ("avataaars", "train", 0, 64, True), ("lorelei", "train", 0, 64, False)]
    assert len({AvatarCache(*s).path for s in settings_}) == len(settings_)


def test_parts_are_drawn_by_their_shares() -> None:
    n = 3000
    drawn = [draw_options(AVATAAARS, avatar_rng("avataaars", "train", 0, i)) for i in range(n)]
    glasses = sum(o["accessoriesProbability"] == 100 for o in drawn) / n
    beards = sum(o["facialHairProbability"] == 100 for o in drawn) / n
    assert abs(glasses - 0.35) < 0.04
    assert abs(beards - 0.30) < 0.04
    mouths = Counter(o["mouthVariant"] for o in drawn)
    shares = AVATAAARS.parts["mouth"]
    assert set(mouths) == set(shares)
    assert abs(mouths["smile"] / n - shares["smile"] / sum(shares.values())) < 0.04


def test_the_table_names_only_what_the_style_has() -> None:
    definition = style_definition("avataaars")
    for part, shares in AVATAAARS.parts.items():
        assert set(shares) <= set(definition["components"][part]["variants"]), part
    for name, shares in AVATAAARS.colors.items():
        assert set(shares) <= set(definition["colors"][name]["values"]), name


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10_000))
def test_hair_never_looks_like_skin_and_backgrounds_are_pale(seed: int) -> None:
    rng = np.random.default_rng(seed)
    background = bytes.fromhex(draw_background(AVATAAARS, rng)[1:])
    assert min(background) >= 255 * 0.88 * (1 - 0.32) - 1
    options = draw_options(AVATAAARS, rng)
    [hair], [skin] = options["hairColor"], options["skinColor"]
    assert np.linalg.norm(np.subtract(list(bytes.fromhex(hair[1:])), list(bytes.fromhex(skin[1:])))) >= 40
    assert options["facialHairColor"] == options["hairColor"]


def test_shapes_and_names(labels) -> None:
    assert labels.images.shape == (16, 3, 64, 64)
    assert labels.masks.shape == (16, 64, 64)
    assert labels.images.dtype == labels.masks.dtype == np.uint8
    assert labels.classes is AVATAR_CLASSES
    assert AVATAR_CLASSES.names == (
        "background", "skin", "hair", "eyes", "eyebrows", "nose", "mouth", "facial hair", "clothes", "glasses", "hat",
    )
    assert len(labels.attributes) == len(labels.captions) == len(set(labels.names)) == 16


def test_every_class_has_a_colour_of_its_own_to_the_eye() -> None:
    palette = np.array(AVATAR_CLASSES.palette, dtype=float)
    apart = np.linalg.norm(palette[:, None] - palette[None], axis=-1) + 999 * np.eye(len(palette))
    assert apart.min() > 50


def test_background_pixels_have_the_background_colour_and_skin_pixels_the_skin_colour(labels) -> None:
    for image, mask, attributes in zip(labels.images, labels.masks, labels.attributes, strict=True):
        # Inside a region: a pixel whose neighbours are of its class too is free of anti-aliasing.
        for name, color in (("background", attributes["background"]), ("skin", attributes["skinColor"])):
            region = mask == AVATAR_CLASSES.names.index(name)
            inner = region.copy()
            for axis in (0, 1):
                for step in (-1, 1):
                    inner &= np.roll(region, step, axis)
            inner[[0, -1]] = inner[:, [0, -1]] = False
            pixels = image[:, inner].T.astype(int)
            exact = np.abs(pixels - list(bytes.fromhex(color[1:]))).max(axis=1) <= 2
            # All of the background; of the skin all but what lies in a shadow.
            assert exact.mean() > (0.999 if name == "background" else 0.75), (name, exact.mean())


def test_parts_that_are_drawn_are_in_the_mask_and_others_are_not() -> None:
    rendered = [render_avatar(AvatarAddress("avataaars", "teacher", 0, i), 64, masks=True) for i in range(24)]
    for avatar in rendered:
        seen = {AVATAR_CLASSES.names[k] for k in np.unique(avatar.mask)}
        assert ("glasses" in seen) == (avatar.attributes["accessories"] is not None)
        assert ("facial hair" in seen) == (avatar.attributes["facialHair"] is not None)
        assert ("hat" in seen) == (avatar.attributes["hatColor"] is not None)
        assert ("hair" in seen) == (avatar.attributes["hairColor"] is not None)
        assert {"background", "skin", "nose", "mouth"} <= seen


def test_masks_of_two_sizes_agree() -> None:
    address = AvatarAddress("avataaars", "heldout", 0, 1)
    small = render_avatar(address, 64, masks=True).mask
    large = render_avatar(address, 256, masks=True).mask
    assert (majority(large, 4) == small).mean() > 0.99


@settings(deadline=None, max_examples=50)
@given(factor=st.integers(1, 4), seed=st.integers(0, 999))
def test_majority_is_the_most_frequent_class_of_each_block(factor: int, seed: int) -> None:
    ids = np.random.default_rng(seed).integers(0, 3, (2 * factor, 3 * factor), dtype=np.uint8)
    reduced = majority(ids, factor)
    for y in range(2):
        for x in range(3):
            block = Counter(ids[y * factor:(y + 1) * factor, x * factor:(x + 1) * factor].ravel().tolist())
            best = max(block.values())
            assert reduced[y, x] == max(k for k, count in block.items() if count == best)


@pytest.mark.parametrize("style", sorted(PART_CLASSES))
def test_every_part_of_a_style_with_masks_has_a_class(style: str) -> None:
    definition = style_definition(style)
    assert set(definition["components"]) == set(PART_CLASSES[style].parts)
    for part, variant in PART_CLASSES[style].variants:
        assert variant in definition["components"][part]["variants"]
    for index in range(6):   # at this size there is no majority vote that could hide a blended colour
        mask = render_avatar(AvatarAddress(style, "teacher", 0, index), 512, masks=True).mask
        assert set(np.unique(mask)) <= set(np.flatnonzero(drawn_classes(style)))


def test_labels_show_every_class_twice_and_early(labels) -> None:
    shown = labels.class_pixels() >= 4
    assert (shown.sum(axis=0) >= 2).all()
    assert shown[0].sum() >= 9
    assert shown[:4].any(axis=0).all()


def test_smaller_and_larger_draws_of_labels_are_nested() -> None:
    sixteen = stratified_labels(seed=5, n=16, pool=64, resolution=32, progress=False)
    for n in (1, 4, 24, 80):
        other = stratified_labels(seed=5, n=n, pool=64, resolution=32, progress=False)
        assert len(set(other.names)) == n
        assert other.names[:16] == sixteen.names[:n]
        np.testing.assert_array_equal(other.masks[:16], sixteen.masks[:n])


def test_labels_refuse_what_cannot_be_met() -> None:
    with pytest.raises(GanvasError, match=r"occurs in fewer than 9 of the 16 label candidates"):
        stratified_labels(seed=0, minimum=9, pool=16, resolution=16, progress=False)
    with pytest.raises(GanvasError, match="at least 1, got 0"):
        stratified_labels(seed=0, n=0)


def test_captions_say_what_is_there(labels) -> None:
    for attributes, text in zip(labels.attributes, labels.captions, strict=True):
        assert re.fullmatch(r"An? [^{}]+\.", text), text
        assert ("glasses" in text) == (attributes["accessories"] is not None)
        assert ("beard" in text or "moustache" in text) == (attributes["facialHair"] is not None)
        assert "  " not in text


def test_every_part_of_the_style_can_be_captioned() -> None:
    definition = style_definition("avataaars")
    base = render_avatar(AvatarAddress("avataaars", "train", 0, 0), 8).attributes
    for part, component in definition["components"].items():
        for variant in component["variants"]:
            text = caption({**base, "hairColor": "#2c1b18", "hatColor": "#25557c", "accessoriesColor": "#262e33",
                            part: variant})
            assert re.fullmatch(r"An? [^{}]+\.", text), text
            assert "  " not in text


@pytest.mark.parametrize(("color", "name"), [("#ffffff", "white"), ("#ff5c5c", "red"), ("#262e33", "charcoal")])
def test_colour_names(color: str, name: str) -> None:
    assert color_name(color) == name


@pytest.mark.parametrize("changed", [("hair", "curly"), ("clothes", "small")])
def test_a_group_of_nothing_but_shading_leaves_no_trace(changed: tuple[str, str]) -> None:
    """Both shade a part by a group within a mask; the shade must not mix with the ids below it."""
    address = AvatarAddress("personas", "heldout", 0, 0, changed=(changed, ("eyes", "open"), ("hair", "curly")))
    seen = set(np.unique(render_avatar(address, 64, masks=True).mask).tolist())
    assert "hat" not in {AVATAR_CLASSES.names[k] for k in seen}


def test_other_styles_give_images_attributes_and_captions() -> None:
    others = quiet(2, style="lorelei", resolution=16)
    assert others.masks is None
    assert others.captions[0].startswith("A lorelei avatar with ")
    assert others.attributes[0]["eyes"].startswith("variant")
    masked = quiet(2, style="toon-head", resolution=16, masks=True)
    assert set(np.unique(masked.masks)) <= set(range(len(AVATAR_CLASSES)))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"split": "test"}, "no avatar split 'test'; choose one of: train, teacher, heldout, labels"),
        ({"count": 0}, "at least 1, got 0"),
        ({"resolution": 0}, "at least 1 pixel, got 0"),
        ({"style": "rembrandt"}, "no avatar style 'rembrandt'; choose one of: adventurer"),
        ({"style": "lorelei", "masks": True}, "'lorelei' has no table of part classes"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, sentence: str) -> None:
    with pytest.raises(GanvasError, match=sentence):
        render_avatars(**{"count": 1, "progress": False} | arguments)


def test_labels_exported_as_a_folder_are_read_in_the_same_order(labels, tmp_path: Path) -> None:
    out = write_folder(labels.take(range(3)), tmp_path / "export")
    again = read_folder(out / "images", out / "masks")
    np.testing.assert_array_equal(again.images, labels.images[:3])
    np.testing.assert_array_equal(again.masks, labels.masks[:3])
    assert again.classes == AVATAR_CLASSES
    assert again.names == labels.names[:3]
