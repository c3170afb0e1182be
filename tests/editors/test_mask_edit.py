"""Mask edits on a tiny generator whose branch reads brightness: the region follows the wish, the rest stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from editors.mask_edit import Edited, EditSettings, MaskEditor, Problem
from editors.regions import dilate, edit_region, edited_classes
from editors.vectors import apply_vector, learn_vector
from networks.checkpoints.classes import IGNORE
from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.latent_edit import LatentEdit
from networks.segmentation import head_for
from networks.segmentation.maps import render_maps

FAST = EditSettings(steps=30, batch=2, rate=0.3, labels=10.0, margin=0.07)


@pytest.fixture(scope="module")
def head(generator):
    return head_for(generator, "linear", num_classes=3, seed=1, members=2).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def editor(head, generator, critic) -> MaskEditor:
    return MaskEditor(head, generator, FAST, critic)


@pytest.fixture(scope="module")
def wish(editor: MaskEditor, generator) -> tuple[Latent, torch.Tensor]:
    """Three codes, and masks that have the classes of three others in a square."""
    latent, other = generator.sample(3, seed=4), generator.sample(3, seed=5)
    target = editor.see(latent)[1].clone()
    target[:, 4:12, 4:12] = editor.see(other)[1][:, 4:12, 4:12]
    return latent, target


@pytest.fixture(scope="module")
def edited(editor: MaskEditor, wish) -> Edited:
    return editor.edit(*wish, classes=[])


def test_the_region_follows_the_wish(editor: MaskEditor, edited: Edited, wish) -> None:
    problem = Problem.of(editor, *wish, ["a", "b", "c"], [])
    with torch.no_grad():
        before, after = (
            problem.cross_entropy(render_maps(editor.generator, codes)[1]) for codes in (edited.before, edited.after)
        )
    assert (after < before).all()
    assert torch.equal(edited.region.any(2).any(1), torch.ones(3, dtype=torch.bool))
    assert torch.equal(edited.target, wish[1])


def test_what_lies_outside_stays_the_more_the_more_it_weighs(editor: MaskEditor, edited: Edited, wish) -> None:
    strict = MaskEditor(editor.head, editor.generator, replace(FAST, pixel=100.0), editor.critic)
    assert strict.edit(*wish, classes=[]).outside.mean() < edited.outside.mean() / 2


def test_what_is_kept_is_rendered_from_the_codes(edited: Edited, editor: MaskEditor) -> None:
    image, mask = editor.see(edited.after)
    torch.testing.assert_close(image.clamp(-1, 1), edited.image, rtol=1e-4, atol=1e-4)
    assert (mask == edited.mask).float().mean() > 0.99


def test_an_edit_does_not_depend_on_its_neighbours(editor: MaskEditor, wish, edited: Edited) -> None:
    latent, target = wish
    alone = editor.edit(latent[2], target[2:3], classes=[])
    torch.testing.assert_close(alone.after.tensors["ws"], edited.after[2].tensors["ws"], rtol=1e-3, atol=1e-3)


def test_the_best_codes_are_kept_and_no_steps_change_nothing(editor: MaskEditor, wish) -> None:
    latent, target = wish
    still = editor.edit(latent, target, classes=[], steps=0)
    torch.testing.assert_close(still.after.tensors["ws"], latent.tensors["ws"])
    wild = MaskEditor(editor.head, editor.generator, replace(FAST, rate=50.0), editor.critic)
    found = wild.edit(latent, target, classes=[])
    assert (found.outside < 0.5).all()  # the last codes of such steps are far out


def test_rows_that_may_not_move_do_not(editor: MaskEditor, wish) -> None:
    some = MaskEditor(editor.head, editor.generator, replace(FAST, rows=(2, 4)), editor.critic)
    step = some.edit(*wish, classes=[]).vector().delta["ws"]
    assert step[2:4].abs().sum() > 0
    assert step[:2].abs().sum() == step[4:].abs().sum() == 0


def test_an_image_that_gains_nothing_stops_early(editor: MaskEditor, wish) -> None:
    patient = MaskEditor(editor.head, editor.generator, replace(FAST, patience=1, tolerance=1.0), editor.critic)
    rendered = []
    hook = editor.generator.synthesis.register_forward_hook(lambda *_: rendered.append(1))
    patient.edit(wish[0][:1], wish[1][:1], classes=[], steps=30)
    hook.remove()
    assert len(rendered) < 30


def test_identity_is_a_term_like_the_others(editor: MaskEditor, wish) -> None:
    identity = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten())
    with pytest.raises(GanvasError, match="no identity network"):
        MaskEditor(editor.head, editor.generator, replace(FAST, identity=1.0), editor.critic)

    def change(weight: float) -> torch.Tensor:
        one = MaskEditor(editor.head, editor.generator, replace(FAST, identity=weight), editor.critic, identity)
        found = one.edit(*wish, classes=[])
        return 1 - torch.cosine_similarity(identity(found.image), identity(found.image_before)).mean()

    assert change(30.0) < change(1e-6)


def test_vectors_are_learned_in_both_ways_and_applied(editor: MaskEditor, wish) -> None:
    latent, target = wish
    for how in ("mean", "joint"):
        vector, seen = learn_vector(editor, latent, target, [1], "one", how, ("a", "b", "c"))
        assert (vector.region, vector.name, vector.generator_hash) == (("b",), "one", latent.generator_hash)
        assert len(seen) == 3
        moved = apply_vector(editor, latent, vector, [1], strength=0.5)
        torch.testing.assert_close(
            moved.after.tensors["ws"], latent.tensors["ws"] + 0.5 * vector.delta["ws"], rtol=1e-5, atol=1e-5
        )
        assert torch.equal(moved.mask, moved.target)
    with pytest.raises(GanvasError, match="joint or mean, not sum"):
        learn_vector(editor, latent, target, [1], how="sum")


def test_refinement_starts_at_the_vector_and_goes_down(editor: MaskEditor, wish, edited: Edited) -> None:
    vector = edited.vector()
    plain = apply_vector(editor, wish[0], vector, strength=0.15)
    refined = apply_vector(editor, wish[0], vector, strength=0.15, refine=10)
    assert torch.equal(plain.region, refined.region)
    assert torch.equal(refined.target, plain.mask)  # the wish is what the vector made
    problem = Problem.of(editor, plain.before, plain.mask, ["a", "b", "c"], None, plain.region)
    with torch.no_grad():
        before, after = (
            problem.loss((one.after.tensors["ws"] - one.before.tensors["ws"]) / editor.unit)
            for one in (plain, refined)
        )
    assert (after < before).all()


def test_a_vector_of_another_generator_is_refused(editor: MaskEditor, wish, edited: Edited) -> None:
    foreign = replace(edited.vector(), generator_hash="f" * 64)
    with pytest.raises(GanvasError, match="belongs to generator ffffffffffff"):
        apply_vector(editor, wish[0], foreign)
    with pytest.raises(GanvasError, match="finite"):
        apply_vector(editor, wish[0], edited.vector(), strength=float("nan"))
    with pytest.raises(GanvasError, match="cannot be applied"):
        apply_vector(editor, wish[0], LatentEdit("w+", {"ws": torch.zeros(2, 2)}))


def test_bad_masks_are_refused(editor: MaskEditor, wish) -> None:
    latent, target = wish
    with pytest.raises(GanvasError, match="8x8 pixels and the image 16x16"):
        editor.edit(latent, target[:, ::2, ::2])
    with pytest.raises(GanvasError, match="class 7, and the branch knows 0 to 2"):
        editor.edit(latent, torch.full_like(target, 7))
    _, seen = editor.see(latent)
    with pytest.raises(GanvasError, match="edit of image 0 changes nothing"):
        editor.edit(latent, seen)
    with pytest.raises(GanvasError, match="changes nothing"):
        editor.edit(latent, torch.full_like(target, IGNORE))
    with pytest.raises(GanvasError, match="edit of b covers the whole image"):
        editor.edit(latent[:1], target[:1], classes=[0, 1, 2], names=["b"])
    with pytest.raises(ValueError, match=r"uint8 \[3, 16, 16\]"):
        editor.edit(latent, target.long())


@pytest.mark.parametrize(
    "change", [{"rate": 0.0}, {"rate": float("nan")}, {"margin": -1.0}, {"steps": -1}, {"critic": "eye"}]
)
def test_settings_that_make_no_sense_are_refused(change: dict) -> None:
    with pytest.raises(GanvasError, match=next(iter(change))):
        replace(FAST, **change)


def test_rows_of_another_generator_are_refused(editor: MaskEditor) -> None:
    with pytest.raises(GanvasError, match="rows 3 to 99"):
        MaskEditor(editor.head, editor.generator, replace(FAST, rows=(3, 99)), editor.critic)


def test_the_edited_classes_are_those_that_come_or_go() -> None:
    before = torch.zeros(10, 10, dtype=torch.uint8)
    before[:6] = 1
    after = before.clone()
    after[1:3, 1:3] = 2   # a new class, a few pixels of a large one
    assert edited_classes(before, after) == [2]
    after[:4] = 2         # most of the large one goes
    assert edited_classes(before, after) == [1, 2]
    after[:] = IGNORE
    assert edited_classes(before, after) == []


def test_the_region_is_the_classes_before_and_after_with_a_margin() -> None:
    before = torch.zeros(1, 20, 20, dtype=torch.uint8)
    before[0, 5:8, 5:8] = 1
    after = torch.zeros_like(before)
    after[0, 12:14, 12:14] = 1
    exact = edit_region(before, after, 0.0, [1])
    assert torch.equal(exact, (before == 1) | (after == 1))
    assert torch.equal(edit_region(before, after, 0.05, [1]), dilate(exact, 1))
    assert dilate(exact, 1).sum() == 5 * 5 + 4 * 4
    after[0, :, :10] = IGNORE  # no wish there: what was before still counts, a change does not
    assert torch.equal(edit_region(before, after, 0.0, [1]), exact)
    assert not edit_region(before, after, 0.0, [])[0, :, :10].any()
    after[0, 0, 19] = 2  # another class, far away
    assert edit_region(before, after, 0.0, [1])[0, 0, 19]
    assert not edit_region(before, after, 0.0, [1], changed=False)[0, 0, 19]
    with pytest.raises(ValueError, match="both"):
        edit_region(before, after[0], 0.0)


def test_numbers_of_an_edit_count_its_pixels() -> None:
    latent = Latent("w+", {"ws": torch.zeros(1, 2, 2)})
    image = torch.zeros(1, 3, 4, 4)
    changed = image.clone()
    changed[..., 0] = 1.0                        # half of full scale, in one column of four
    region = torch.zeros(1, 4, 4, dtype=torch.bool)
    region[..., :2] = True
    mask = torch.from_numpy(np.arange(16, dtype=np.uint8).reshape(1, 4, 4) % 2)
    one = Edited(latent, latent, image, changed, mask, mask, torch.zeros_like(mask), region)
    assert one.inside.item() == pytest.approx(0.25)
    assert one.outside.item() == 0.0
    assert one.agreement.item() == 0.5
    assert one.figures() == {"agreement": 0.5, "inside": 0.25, "outside": 0.0}
