"""The editor of scenes: where an edit is, what it changes there and elsewhere, completion, layouts that do not fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from editors import BlobEditor, CompletionSettings, load, load_edit, save_edit
from networks.blobgan import Layout
from networks.blobgan.operations import HIDDEN_SIZE
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import save_generator
from networks.latent import Latent
from networks.latent_edit import LatentEdit
from tests.networks.test_blobgan import made

QUICK = CompletionSettings(steps=120, rate=0.1)


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> BlobEditor:
    generator = made()
    generator.layout_network.hidden_avg.copy_(generator.sample(64, seed=1).tensors["hidden"].mean(dim=0))
    found = load(save_generator(tmp_path_factory.mktemp("blobs") / "tiny.safetensors", generator, {}))
    assert isinstance(found, BlobEditor)
    return found


@pytest.fixture(scope="module")
def scenes(editor: BlobEditor) -> Latent:
    return editor.sample(3, seed=0)


def test_an_edit_is_where_its_blobs_were_and_are(editor: BlobEditor, scenes: Latent) -> None:
    small = Layout.of(scenes).replace(size=torch.full((3, 3), 1.0), log_aspect=torch.zeros(3, 3))
    centres = torch.tensor([[[0.1, 0.1], [0.9, 0.9], [0.1, 0.9]]] * 3)
    start = small.replace(centre=centres).latent(editor.generator.hash)
    edited = editor.edit(start, "move 0 0.8 0")
    pixel = edited.region[0]
    assert pixel[3, 3] > 0.5        # where it was
    assert pixel[3, 29] > 0.5       # where it is
    assert pixel[29, 29] < 0.1      # where another lies
    assert (edited.inside > edited.outside).all()
    assert edited.figures().keys() == {"inside", "outside", "region"}
    assert edited.unseen == ()


def test_nothing_changes_where_nothing_is_done(editor: BlobEditor, scenes: Latent) -> None:
    edited = editor.edit(scenes, "move 0 0.2 0", strength=0.0)
    assert edited.figures() == {"inside": 0.0, "outside": 0.0, "region": 0.0}
    assert torch.equal(edited.image, edited.image_before)


@pytest.mark.parametrize(
    "program", ["background 1", "duplicate 0 0.1 0", "reorder 0 front", "restyle 0 1:1", "remove 0"]
)
def test_every_kind_of_edit_has_a_region(editor: BlobEditor, scenes: Latent, program: str) -> None:
    edited = editor.edit(scenes, program, scenes)
    assert edited.region.shape == (3, 32, 32)
    assert (edited.region >= 0).all()
    assert (edited.region <= 1).all()
    assert edited.figures()["region"] > 0


def test_the_regions_parts_are_means_of_the_change(editor: BlobEditor, scenes: Latent) -> None:
    edited = editor.edit(scenes, "move 0 0.3 0")
    share = edited.region.mean(dim=(1, 2))
    whole = edited.inside * share + edited.outside * (1 - share)
    torch.testing.assert_close(whole, edited.change.mean(dim=(1, 2)))


def test_blobs_that_leave_the_image_are_named(editor: BlobEditor, scenes: Latent) -> None:
    assert editor.edit(scenes, "move 1 9 0").unseen == ((0, 1), (1, 1), (2, 1))
    assert editor.edit(scenes, "place 1 0.5 0.5").unseen == ()
    assert editor.edit(scenes, "remove 1").unseen == ()  # that was the wish


def test_a_saved_edit_does_the_same(editor: BlobEditor, scenes: Latent, tmp_path: Path) -> None:
    edit = editor.vector("restyle all 2:0; truncate 0.5", scenes, "plain")
    found = load_edit(save_edit(tmp_path / "edit.safetensors", edit))
    assert found.module.scenes.keys() == {"2", "mean"}  # what it needs, and no more
    again = editor.edit(scenes, found, strength=0.5)
    torch.testing.assert_close(again.image, editor.edit(scenes, edit, strength=0.5).image)


def test_a_swap_changes_the_other_scene_too(editor: BlobEditor, scenes: Latent) -> None:
    edit = editor.vector("swap 0 1:2", scenes)
    (name, partner), = editor.partners(scenes[0], edit).items()
    assert name == "1"
    assert torch.equal(partner.style[:, 3], scenes.tensors["style"][:1, 1])
    assert editor.partners(scenes, editor.vector("remove 0")) == {}


def test_what_is_kept_stays_and_the_rest_is_new(editor: BlobEditor, scenes: Latent) -> None:
    done = editor.complete(scenes, [1], seed=5, settings=QUICK)
    before, after = Layout.of(scenes), Layout.of(done.latent)
    for name, tensor in after.tensors().items():
        row = 2 if name in ("structure", "style") else 1
        assert torch.equal(tensor[:, row], before.tensors()[name][:, row])
    assert (after.centre[:, 0] - before.centre[:, 0]).abs().amax(dim=1).min() > 0.01
    assert not torch.equal(after.centre, Layout.of(editor.complete(scenes, [1], seed=6, settings=QUICK).latent).centre)
    # the code that was found has nearly these blobs by itself, as the sample that it began with had not
    fresh = editor.complete(scenes, [1], seed=5, settings=dataclasses.replace(QUICK, steps=1)).distance
    assert (done.distance < 0.5 * fresh).all()
    by_itself = editor.generator.layout_of(done.code).centre[:, 1]
    assert ((by_itself - before.centre[:, 1]).norm(dim=1) < 0.1).all()


def test_a_completion_is_an_edit_at_any_strength(editor: BlobEditor, scenes: Latent, tmp_path: Path) -> None:
    done = editor.complete(scenes, [1], seed=5, settings=QUICK)
    found = load_edit(save_edit(tmp_path / "edit.safetensors", done.edit))
    assert torch.equal(found.apply(scenes).tensors["centre"], done.latent.tensors["centre"])
    half, before, after = (Layout.of(each) for each in (found.apply(scenes, 0.5), scenes, done.latent))
    torch.testing.assert_close(half.centre, (before.centre + after.centre) / 2)
    assert torch.equal(half.style[:, 2], before.style[:, 2])
    nothing = editor.edit(scenes, found, strength=0.0)
    torch.testing.assert_close(nothing.image, nothing.image_before, rtol=1e-3, atol=1e-4)
    # made for three scenes, it says so of two; made for one, it does the same to all
    with pytest.raises(GanvasError, match="one for each of 3 scenes, and 2 are edited"):
        editor.edit(scenes[:2], found)
    one = editor.complete(scenes[0], [1], seed=5, settings=QUICK).edit
    torch.testing.assert_close(one.apply(scenes).tensors["centre"][:, 0], after.centre[:1, 0].expand(3, 2))


def test_edited_scenes_are_completed_with_copies_and_another_order(editor: BlobEditor, scenes: Latent) -> None:
    """Copies are of no fresh scene: they go, by their opacity."""
    copied = editor.edit(scenes, "duplicate 0 0.2 0; reorder 1 front").after
    done = editor.complete(copied, [1], seed=5, settings=QUICK)
    after = Layout.of(done.latent)
    assert after.k == 4
    assert (after.size[:, 3] == HIDDEN_SIZE).all()
    assert after.order()[:, :3].tolist() == [[0, 1, 2]] * 3


def test_a_scene_is_not_completed_by_itself(editor: BlobEditor, scenes: Latent) -> None:
    """Its own seed would find it again, were fresh samples the first of the seed."""
    done = editor.complete(scenes, [1], seed=0, settings=dataclasses.replace(QUICK, steps=1))
    assert (done.distance > 0.1).all()


def test_styles_of_other_scenes_are_taken_from_like_layouts(editor: BlobEditor, scenes: Latent) -> None:
    source = editor.sample(3, seed=8)
    edit = editor.match_styles(scenes, source, QUICK)
    after = Layout.of(edit.apply(scenes))
    before = Layout.of(scenes)
    for name in ("centre", "size", "log_aspect", "angle", "structure"):
        assert torch.equal(getattr(after, name), getattr(before, name))
    theirs = Layout.of(source).style
    distances = [(each.style - theirs).square().mean(dim=(0, 2)) for each in (after, before)]
    assert (distances[0] < distances[1]).all()  # of the background and of every blob
    assert torch.equal(Layout.of(edit.apply(scenes, 0.0)).style, before.style)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"style": torch.zeros(3, 4, 9)}, "structure and style of 10 and 9 numbers, and this generator's"),
        ({"size": torch.full((3, 3), torch.nan)}, "have a size that is no number, NaN or infinite"),
        ({"angle": torch.zeros(3, 3, 2)}, "an angle that is no unit vector"),
        ({"centre": torch.zeros(3, 3)}, r"are no layouts: centre must be \[N, K, 2\]"),
        ({"centre": torch.full((3, 3, 2), -2000.0)}, "a centre more than 1000 widths of the image away"),
        ({"size": torch.full((3, 3), 1e300, dtype=torch.float64)}, "have a size that is no number, NaN or infinite"),
        ({"log_aspect": torch.full((3, 3), 500.0)}, r"have a log_aspect outside of \[-40, 40\]; draw or edit"),
        ({"log_aspect": torch.full((3, 3), -41.0)}, "have a log_aspect outside of"),
        ({"style": torch.full((3, 4, 6), 1e20)}, "have a style of more than 100 times the usual length"),
        ({"structure": torch.full((3, 4, 10), -101.0)}, "have a structure of more than 100 times the usual length"),
    ],
)
def test_layouts_that_do_not_fit(editor: BlobEditor, scenes: Latent, changes: dict, says: str) -> None:
    spoilt = scenes.replace(**changes)
    with pytest.raises(GanvasError, match=says):
        editor.edit(spoilt, "remove 0")
    with pytest.raises(GanvasError, match=says):
        editor.edit(scenes, "background 0", spoilt)


def test_opacities_are_in_0_to_1_and_where_the_model_has_them(
    editor: BlobEditor, scenes: Latent, tmp_path: Path
) -> None:
    foreign = Layout.of(scenes).replace(opacity=torch.full((3, 3), 0.5)).latent()
    with pytest.raises(GanvasError, match="have an opacity, and this generator's blobs have none beside their size"):
        editor.edit(foreign, "remove 0")
    own = load(save_generator(tmp_path / "own.safetensors", made(own_opacity=True), {}))
    drawn = own.sample(2, 0)
    assert own.edit(drawn, "move 0 0.2 0").change.max() > 0
    for value in (7.0, -0.1):
        with pytest.raises(GanvasError, match=r"have an opacity outside of \[0, 1\]; draw or edit them again"):
            own.edit(drawn.replace(opacity=torch.full((2, 3), value)), "remove 0")


def test_more_blobs_than_can_be_rendered(editor: BlobEditor, scenes: Latent) -> None:
    crowd = Layout.of(scenes).take([0, 1] * 96)
    assert editor.edit(crowd.take(range(191)).latent(), "move 0 0.1 0").image.isfinite().all()
    with pytest.raises(GanvasError, match="the scenes to edit have 192 blobs, and 1 to 191 can be rendered"):
        editor.edit(crowd.latent(), "move 0 0.1 0")


def test_as_much_as_is_allowed_is_drawn(editor: BlobEditor, scenes: Latent) -> None:
    layout = Layout.of(scenes).replace(
        log_aspect=torch.full((3, 3), 40.0), style=torch.full((3, 4, 6), 100.0),
        structure=torch.full((3, 4, 10), -100.0),
    )  # fmt: skip
    assert editor.edit(layout.latent(), "move 0 999 0; stretch 1 1e-34").image.isfinite().all()


def test_an_image_that_is_not_finite_is_refused(editor: BlobEditor, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt = torch.zeros(2, 3, 32, 32)
    spoilt[1, 0, 0, 0] = torch.nan
    monkeypatch.setattr(editor.generator, "render", lambda latent: spoilt[: len(latent)])
    assert editor.render(editor.sample(1)).isfinite().all()
    with pytest.raises(GanvasError, match="NaN or infinite pixels for code 1 of 2: its numbers, or the generator's"):
        editor.render(editor.sample(2))


def test_what_an_edit_out_of_a_file_takes_from_is_looked_at(
    editor: BlobEditor, scenes: Latent, tmp_path: Path
) -> None:
    edit = editor.vector("swap 0 1:0", editor.sample(3, seed=5))
    edit.module.scenes["1"].style.mul_(1e20)
    saved = load_edit(save_edit(tmp_path / "edit.safetensors", edit))
    with pytest.raises(GanvasError, match="the scene 1 to take from has a style of more than 100 times"):
        editor.edit(scenes, saved)


def test_other_misfits(editor: BlobEditor, scenes: Latent) -> None:
    with pytest.raises(GanvasError, match="belong to generator aaaaaaaaaaaa"):
        editor.edit(dataclasses.replace(scenes, generator_hash="a" * 64), "remove 0")
    with pytest.raises(GanvasError, match="are no layouts: a layout is wanted"):
        editor.edit(Latent("w", {"w": torch.zeros(1, 24)}), "remove 0")
    foreign = LatentEdit("layout", {"centre": torch.zeros(9, 2)}, None, (), "far")
    with pytest.raises(GanvasError, match="the edit far cannot be applied"):
        editor.edit(scenes, foreign)
    with pytest.raises(GanvasError, match=r"blobs \[7\] cannot be kept; give some of 0 to 2"):
        editor.complete(scenes, [7])
    plain = Layout.of(scenes).latent()
    with pytest.raises(GanvasError, match="as many samples with their hidden codes"):
        editor.complete(scenes, [0], start=plain)
