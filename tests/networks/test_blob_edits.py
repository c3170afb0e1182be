"""Edits of blobs: what each operation does and leaves alone, for any weights; words and data; bundles."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from networks.blobgan import BlobGenerator, BlobProgram, Layout, operations
from networks.blobgan.steps import MEAN, OPERATIONS, BlobStep, usage
from networks.checkpoints.bundle import save_bundle
from networks.checkpoints.edits import load_edit, save_edit
from networks.checkpoints.errors import GanvasError
from networks.latent_edit import LatentEdit
from tests.networks.test_blobgan import made

EVERY = {  # a step of each kind
    "move": "move 0 0.2 -0.1", "place": "place 0,2 0.4 0.6", "resize": "resize 1 -0.5", "remove": "remove 1",
    "rotate": "rotate all 30", "stretch": "stretch 2 1.5", "duplicate": "duplicate 1 0.1 0.1 back",
    "reorder": "reorder 0 front", "restyle": "restyle 0,1 a:2", "replace": "replace 1 a:0", "swap": "swap 0 a:1",
    "background": "background a", "empty": "empty", "transfer": "transfer a", "truncate": "truncate 0.4",
    "match": "match a", "surround": "surround 1 a",
}  # fmt: skip
CHANGES = {  # what it may change
    "move": {"centre"}, "place": {"centre"}, "resize": {"size"}, "remove": {"size"}, "empty": {"size"},
    "rotate": {"angle"}, "stretch": {"log_aspect"}, "reorder": {"depth"}, "restyle": {"style"}, "transfer": {"style"},
    "match": {"style"},
    "replace": {"structure", "style"}, "swap": {"structure", "style"}, "background": {"structure", "style"},
}  # fmt: skip


@pytest.fixture(scope="module")
def generator() -> BlobGenerator:
    found = made()
    found.layout_network.hidden_avg.copy_(found.sample(64, seed=1).tensors["hidden"].mean(dim=0))
    return found


@pytest.fixture(scope="module")
def layout(generator: BlobGenerator) -> Layout:
    return Layout.of(generator.sample(2, seed=0))


@pytest.fixture(scope="module")
def scenes(generator: BlobGenerator) -> dict[str, Layout]:
    network = generator.layout_network
    return {"a": Layout.of(generator.sample(1, seed=7)), MEAN: network.layout(network.hidden_avg[None])}


def run(program: str, layout: Layout, scenes: dict[str, Layout] | None = None, strength: float = 1.0) -> Layout:
    return BlobProgram.parse(program, scenes).run(layout, strength).layout


def picture(generator: BlobGenerator, layout: Layout) -> Tensor:
    return generator.render(layout.latent())


def assert_same(one: Layout, other: Layout, **tolerance: float) -> None:
    torch.testing.assert_close(one.tensors(), other.tensors(), **tolerance)


@given(right=st.floats(-2, 2), down=st.floats(-2, 2), degrees=st.floats(-400, 400), by=st.floats(-4, 4))
@settings(deadline=None, max_examples=20)
def test_geometry_can_be_taken_back(
    generator: BlobGenerator, layout: Layout, right: float, down: float, degrees: float, by: float
) -> None:
    there = f"move 0,2 {right} {down}; rotate 1 {degrees}; resize all {by}; stretch 1 {2 ** by}"
    back = f"stretch 1 {2 ** -by}; resize all {-by}; rotate 1 {-degrees}; move 0,2 {-right} {-down}"
    assert_same(run(f"{there}; {back}", layout), layout, rtol=1e-4, atol=1e-4)


def test_a_turn_by_half_a_circle_changes_nothing(generator: BlobGenerator, layout: Layout) -> None:
    torch.testing.assert_close(
        picture(generator, run("rotate all 180", layout)), picture(generator, layout), rtol=1e-3, atol=1e-4
    )  # fmt: skip


@pytest.mark.parametrize("blob", [0, 1, 2])
def test_a_removed_blob_is_as_one_left_out(generator: BlobGenerator, layout: Layout, blob: int) -> None:
    others = [i for i in range(layout.k) if i != blob]
    removed, left_out = run(f"remove {blob}", layout), layout.take(others)
    weights = [generator.synthesis.weights(each)[32] for each in (removed, left_out)]
    torch.testing.assert_close(weights[0][:, [0, *(i + 1 for i in others)]], weights[1], rtol=0, atol=1e-4)
    torch.testing.assert_close(picture(generator, removed), picture(generator, left_out), rtol=0, atol=1e-4)
    assert removed.k == layout.k  # numbers stay


def test_half_a_removal_has_half_the_opacity_in_the_middle(layout: Layout) -> None:
    half = run("remove 1", layout, strength=0.5)
    torch.testing.assert_close(half.size[:, 1].sigmoid(), layout.size[:, 1].sigmoid() / 2)
    assert_same(run("remove 1", layout, strength=-1), layout)  # there is nothing beyond


def test_an_empty_room_is_its_background_alone(generator: BlobGenerator, layout: Layout) -> None:
    weights = generator.synthesis.weights(run("empty", layout))[32]
    torch.testing.assert_close(weights[:, 0], torch.ones_like(weights[:, 0]))


def test_a_copy_is_the_next_blob_in_front_of_its_original(generator: BlobGenerator, layout: Layout) -> None:
    copied = run("duplicate 0 0.3 0.1", layout)
    assert copied.k == 4
    torch.testing.assert_close(copied.centre[:, 3], layout.centre[:, 0] + torch.tensor([0.3, 0.1]))
    for name in ("structure", "style"):
        assert torch.equal(getattr(copied, name)[:, 4], getattr(layout, name)[:, 1])
    assert copied.order().tolist() == [[0, 3, 1, 2]] * 2
    for level in generator.synthesis.weights(copied).values():
        torch.testing.assert_close(level.sum(dim=1), torch.ones_like(level[:, 0]))
    assert run("duplicate 0,1 0 0 back", layout).order().tolist() == [[4, 3, 0, 1, 2]] * 2
    instead, moved = run("duplicate 0 0.3 0.1; remove 0", layout), run("move 0 0.3 0.1", layout)
    torch.testing.assert_close(picture(generator, instead), picture(generator, moved), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("program", "order"),
    [
        ("reorder 0 front", [1, 2, 0]), ("reorder 2 back", [2, 0, 1]), ("reorder 0 1", [1, 0, 2]),
        ("reorder 1 1", [0, 1, 2]), ("reorder 0 99", [1, 2, 0]), ("reorder 0 front; reorder 0 back", [0, 1, 2]),
        ("reorder 0,1 front", [2, 0, 1]),
    ],
)  # fmt: skip
def test_the_order_is_what_was_asked_for(layout: Layout, program: str, order: list[int]) -> None:
    assert run(program, layout).order().tolist() == [order] * 2
    learned = layout.replace(depth=torch.tensor([[-0.3, 0.1, 7.0]] * 2))
    assert run(program, learned).order().tolist() == [order] * 2


def test_an_order_that_is_written_out_is_the_same_picture(generator: BlobGenerator, layout: Layout) -> None:
    written = layout.replace(depth=operations.ranks(layout))
    torch.testing.assert_close(picture(generator, written), picture(generator, layout))
    assert run("reorder 0 front", layout, strength=0.5).order().tolist() == [[1, 0, 2]] * 2  # half of the way


def test_swapped_twice_is_as_before(layout: Layout, scenes: dict[str, Layout]) -> None:
    once = BlobProgram.parse("swap 0 a:1", scenes).run(layout)
    assert torch.equal(once.layout.style[:, 1], scenes["a"].style[:, 2].expand(2, -1))
    assert torch.equal(once.scenes["a"].structure[:, 2], layout.structure[:, 1])
    twice = BlobProgram.parse("swap 0 a:1; swap 0 a:1", scenes).run(layout)
    assert_same(twice.layout, layout, rtol=0, atol=0)
    assert torch.equal(twice.scenes["a"].style, scenes["a"].style.expand(2, -1, -1))
    within = run("swap 0 2", layout)
    assert torch.equal(within.style[:, [1, 2, 3]], layout.style[:, [3, 2, 1]])
    assert_same(run("swap 0 2; swap 0 2", layout), layout, rtol=0, atol=0)


def test_all_of_a_scene_makes_that_scene(generator: BlobGenerator, layout: Layout, scenes: dict[str, Layout]) -> None:
    there = run("truncate 0", layout, scenes)
    expected = picture(generator, scenes[MEAN]).expand(2, -1, -1, -1)
    torch.testing.assert_close(picture(generator, there), expected, rtol=1e-3, atol=1e-4)
    assert_same(run("truncate 1", layout, scenes), layout)


@pytest.mark.parametrize("numbers", [[2, 0, 1], [1, 0, 2], [1, 2, 0]])
def test_a_match_finds_blobs_whatever_their_numbers(layout: Layout, numbers: list[int]) -> None:
    there = layout.take(numbers)  # its blob i is blob numbers[i] here, a little further, and of another look
    style = torch.randn(there.style.shape, generator=torch.Generator().manual_seed(3))
    style = style / style.square().mean(dim=2, keepdim=True).sqrt()
    there = operations.rotate(there.replace(style=style, centre=there.centre + 0.02), [0, 1, 2], 180)
    found = [numbers.index(i) for i in range(3)]
    assert operations.matches(layout, there).tolist() == [found] * 2
    matched, by_number = (run(f"{step} x", layout, {"x": there}).style for step in ("match", "transfer"))
    assert torch.equal(matched, style[:, [0, *(i + 1 for i in found)]])
    assert not torch.equal(matched, by_number)
    half = run("match x", layout, {"x": there}, 0.5).style
    assert torch.equal(half, operations.take_features(layout, range(4), layout.replace(style=matched), range(4),
                                                      ("style",), 0.5).style)  # fmt: skip


@pytest.mark.parametrize("kind", ["centre", "size", "log_aspect", "structure"])
def test_any_kind_of_number_tells_blobs_apart(layout: Layout, kind: str) -> None:
    alike = layout.take([0, 0, 0])  # but for one kind
    mine = alike.replace(**{kind: getattr(layout, kind)})
    there = mine.take([2, 0, 1])
    assert operations.matches(mine, there).tolist() == [[1, 2, 0]] * 2
    assert operations.matches(alike, alike).tolist() == [[0, 0, 0]] * 2


def test_several_blobs_may_match_one(layout: Layout) -> None:
    copied, there = run("duplicate 1 0.01 0", layout), layout.take([2, 1])
    matched = run("match x", copied, {"x": there})
    assert torch.equal(matched.style[:, [2, 3, 4]], there.style[:, [2, 1, 2]])


def test_a_scene_around_blobs_is_that_scene_but_for_them(generator: BlobGenerator, layout: Layout) -> None:
    there = Layout.of(generator.sample(2, seed=7))
    whole = run("surround 1 x", layout, {"x": there})
    for name, tensor in whole.tensors().items():
        first = name in ("structure", "style")
        assert torch.equal(tensor[:, 1 + first], layout.tensors()[name][:, 1 + first])
        if name != "angle":
            others = [0, 1, 3] if first else [0, 2]
            assert torch.equal(tensor[:, others], there.tensors()[name][:, others])
    mixed = {name: tensor.clone() for name, tensor in there.tensors().items()}
    for name, tensor in mixed.items():
        row = 2 if name in ("structure", "style") else 1
        tensor[:, row] = layout.tensors()[name][:, row]
    expected = picture(generator, Layout(**mixed))
    torch.testing.assert_close(picture(generator, whole), expected, rtol=1e-3, atol=1e-4)
    half = run("surround 1 x", layout, {"x": there}, 0.5)
    torch.testing.assert_close(half.centre[:, 0], (layout.centre[:, 0] + there.centre[:, 0]) / 2)
    assert torch.equal(half.centre[:, 1], layout.centre[:, 1])


def test_blobs_that_a_scene_lacks_go_and_those_that_it_has_more_come(
    generator: BlobGenerator, layout: Layout
) -> None:
    there = Layout.of(generator.sample(2, seed=7))
    copied = run("duplicate 0 0.3 0.1", layout)
    whole, half = (run("surround 1 x", copied, {"x": there}, strength) for strength in (1.0, 0.5))
    assert whole.k == 4  # numbers stay
    torch.testing.assert_close(picture(generator, whole), picture(generator, run("surround 1 x", layout, {"x": there})),
                               rtol=1e-3, atol=1e-4)  # fmt: skip
    torch.testing.assert_close(half.size[:, 3].sigmoid(), copied.size[:, 3].sigmoid() / 2)
    fewer = layout.take([0, 1])
    whole, half = (run("surround 1 x", fewer, {"x": there}, strength) for strength in (1.0, 0.5))
    for name in ("centre", "size", "log_aspect"):
        torch.testing.assert_close(getattr(whole, name)[:, 2], getattr(there, name)[:, 2])
    torch.testing.assert_close(half.size[:, 2].sigmoid(), there.size[:, 2].sigmoid() / 2)


def test_the_order_goes_over_to_that_of_the_scene_around(layout: Layout) -> None:
    there = layout.replace(depth=torch.tensor([[2.0, 0.0, 1.0]] * 2))
    orders = [run("surround 1 x", layout, {"x": there}, strength).order() for strength in (0.0, 0.2, 1.0)]
    assert [order.tolist() for order in orders] == [[[0, 1, 2]] * 2, [[0, 1, 2]] * 2, [[1, 2, 0]] * 2]
    assert run("surround 1 x", layout, {"x": layout}).depth is None  # nothing to say


def test_scenes_one_for_each_go_with_as_many_only(generator: BlobGenerator, layout: Layout) -> None:
    three = Layout.of(generator.sample(3, seed=7))
    for step in ("match x", "surround 1 x", "transfer x"):
        with pytest.raises(GanvasError, match="`x` to take from is one for each of 3 scenes, and 2 are edited: give"):
            run(step, layout, {"x": three})
    narrow = layout.replace(structure=torch.zeros(2, 4, 3))
    with pytest.raises(ValueError, match=r"structure \[2, 4, \d+\] cannot be matched with \[2, 4, 3\]"):
        run("match x", layout, {"x": narrow})


def test_angles_turn_the_shorter_way(layout: Layout) -> None:
    flat = layout.replace(angle=torch.tensor([1.0, 0.0]).expand(2, 3, 2))
    mine, theirs = (operations.rotate(flat, [0, 1, 2], degrees) for degrees in (10, 170))
    half = operations.approach(mine, theirs, 0.5).angle[0, 0]
    torch.testing.assert_close(half, torch.tensor([1.0, 0.0]), rtol=0, atol=1e-5)  # over 0, not over 90 degrees


@pytest.mark.parametrize("action", OPERATIONS)
def test_every_operation_begins_at_nothing_and_keeps_features_at_their_length(
    generator: BlobGenerator, layout: Layout, scenes: dict[str, Layout], action: str
) -> None:
    program = EVERY[action]
    torch.testing.assert_close(
        picture(generator, run(program, layout, scenes, 0.0)), picture(generator, layout), rtol=1e-3, atol=1e-4
    )  # fmt: skip
    for strength in (0.5, 1.0, 1.5):
        edited = run(program, layout, scenes, strength)
        for name in ("structure", "style"):
            length = getattr(edited, name).square().mean(dim=2).sqrt()
            torch.testing.assert_close(length, torch.ones_like(length), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(edited.angle.norm(dim=2), torch.ones(2, edited.k))
    if action in CHANGES:
        whole = run(program, layout, scenes).tensors()
        before = layout.tensors()
        changed = {name for name, t in whole.items() if name not in before or not torch.equal(t, before[name])}
        assert changed == CHANGES[action]


@pytest.mark.parametrize("words", EVERY.values())
def test_words_data_and_bundles_say_the_same(
    layout: Layout, scenes: dict[str, Layout], words: str, tmp_path: Path
) -> None:
    program = BlobProgram.parse(words, scenes)
    step = program.steps[0]
    assert BlobStep.parse(dataclasses.replace(step, strength=0.5).data()) == dataclasses.replace(step, strength=0.5)
    edit = LatentEdit("layout", {}, "a" * 64, (), "name", program)
    found = load_edit(save_edit(tmp_path / "edit.safetensors", edit))
    assert (found.space, found.generator_hash, found.name) == ("layout", "a" * 64, "name")
    assert_same(Layout.of(found.apply(layout.latent(), 0.7)), Layout.of(edit.apply(layout.latent(), 0.7)))


def test_edits_add_and_scale_as_steps_do(generator: BlobGenerator, scenes: dict[str, Layout]) -> None:
    start = generator.sample(2, seed=3)
    one, other = (
        LatentEdit("layout", {}, None, (), name, BlobProgram.parse(words, scenes))
        for name, words in (("a", "move 0 0.2 0; remove 1"), ("b", "truncate 0.5; rotate 0 90"))
    )
    in_turn = other.apply(one.apply(start, 0.5), 0.5)
    torch.testing.assert_close((one + other).apply(start, 0.5).tensors, in_turn.tensors)
    torch.testing.assert_close((0.5 * one).apply(start).tensors, one.apply(start, 0.5).tensors)
    assert (one + other).name == "a + b"


def test_the_hidden_code_of_a_sample_does_not_outlive_an_edit(generator: BlobGenerator) -> None:
    start = generator.sample(2, seed=3).with_noise({"b8.conv1": torch.zeros(2, 8, 8)})
    moved = LatentEdit("layout", {}, module=BlobProgram.parse("move 0 0.1 0")).apply(start)
    assert "hidden" in start.tensors
    assert "hidden" not in moved.tensors
    assert "noise.b8.conv1" in moved.tensors


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("jump 3", "asks for jump; blobs can move, place, resize"),
        ("move 3 0.2", "must read `move BLOBS RIGHT DOWN`"),
        ("move 3 0.2 0 0", "must read `move BLOBS RIGHT DOWN`"),
        ("move 3 nan 0", "nan is no number"),
        ("move -1 0 0", "-1 is no number of a blob"),
        ("move 1,1 0 0", "names no blob, or one twice"),
        ("move 9 0 0", "names blob 9, and the scenes have blobs 0 to 2"),
        ("swap 9 a:0", "names blob 9, and the scenes have blobs 0 to 2"),
        ("restyle 0 a:5", "names blob 5, and scene a has blobs 0 to 2"),
        ("restyle 0 moon:1", "there is no scene `moon` to take from; there are a, mean"),
        ("background 4", "there is no scene `4`"),
        ("stretch 0 0", "must be above 0"),
        ("reorder 0 top", r"must read `reorder BLOBS TO`"),
        ("duplicate 0 0 0; remove 4", "names blob 4, and the scenes have blobs 0 to 3"),
        (" ; ", "has no step"),
        ([{"do": "move", "blobs": 3, "right": 0.2, "up": 1}], "must read `move BLOBS RIGHT DOWN`"),
        ([{"blobs": 3}], "neither words nor data with `do`"),
        ([{"do": "remove", "blobs": [0], "strength": "much"}], "must read `remove BLOBS`"),
        ([{"do": "remove", "blobs": [True]}], "True is no number of a blob"),
        ("; ".join(["duplicate all 0 0"] * 6), "would have 192 blobs, and 1 to 191 can be rendered"),
        ("; ".join(["duplicate all 0 0"] * 60), "would have 192 blobs"),  # before they fill the memory
        ("stretch 1 1e300", r"after the step .*stretch.* have a log_aspect outside of \[-40, 40\]; do less of it"),
        ("stretch 1 1e15; stretch 1 1e15", "a log_aspect outside of"),
        ("stretch 1 1e-300", "a log_aspect outside of"),
        ("resize 1 1e300", "a size that is no number, NaN or infinite"),
        ("move 1 1e4 0", "a centre more than 1000 widths of the image away"),
        ("truncate -1e9", "a centre more than 1000 widths"),
        ([{"do": "rotate", "blobs": 1, "degrees": 1e300}], "an angle that is no number"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_sentence(
    layout: Layout, scenes: dict[str, Layout], program: Any, says: str
) -> None:
    with pytest.raises(GanvasError, match=says) as refused:
        BlobProgram.parse(program, scenes).run(layout)
    assert "\n" not in str(refused.value)


def test_what_does_not_fit_is_refused(layout: Layout, scenes: dict[str, Layout]) -> None:
    wide = layout.replace(style=torch.zeros(2, 4, 99))
    with pytest.raises(ValueError, match=r"style \[2, 4, 6\] cannot be taken from \[2, 4, 99\]"):
        run("restyle 0 a:0", layout, {"a": wide})
    one, other = (BlobProgram.parse("background a", {"a": each}) for each in (scenes["a"], scenes[MEAN]))
    with pytest.raises(ValueError, match="both programs take from a scene called a, and these differ"):
        one.then(other)
    module = LatentEdit("layout", {}, module=one)
    with pytest.raises(ValueError, match="different spaces do not add"):
        module + LatentEdit("layout", {"centre": torch.zeros(3, 2)})
    with pytest.raises(ValueError, match="neither rows nor levels"):
        module.apply(layout.latent(), torch.ones(3))
    with pytest.raises(ValueError, match="in its space, layout"):
        LatentEdit("w", {}, module=one)


@pytest.mark.parametrize(
    ("entry", "tensors", "says"),
    [
        ({"kind": "moons", "config": {}}, {}, "of kind moons, and this version knows blobs"),
        ("blobs", {}, "of kind None"),
        ({"kind": "blobs", "config": {"steps": 3}}, {}, "its program is no list of steps"),
        ({"kind": "blobs", "config": {"steps": []}}, {}, "has no step"),
        ({"kind": "blobs", "config": {"steps": [3]}}, {}, "neither words nor data"),
        ({"kind": "blobs", "config": {"steps": [{"do": ["move"]}]}}, {}, "blobs can move"),
        ({"kind": "blobs", "config": {"steps": [{"do": "resize", "blobs": 0, "by": 10**400}]}}, {}, "must read"),
        ({"kind": "blobs", "config": {"steps": ["empty"]}}, {"../up/size": torch.zeros(1, 2)}, "needs"),
    ],
)
def test_files_that_hold_no_edit(entry: Any, tensors: dict[str, Tensor], says: str, tmp_path: Path) -> None:
    manifest = {"kind": "edit", "space": "layout", "region": [], "module": entry}
    with pytest.raises(GanvasError, match=rf"x\.safetensors holds no usable edit: .*{says}"):
        load_edit(save_bundle(tmp_path / "x.safetensors", tensors, manifest))


def test_scenes_have_names_that_files_may_have(scenes: dict[str, Layout]) -> None:
    with pytest.raises(GanvasError, match=r"cannot be called `\.\./up`"):
        BlobProgram.parse("empty", {"../up": scenes["a"]})


def test_usage_names_what_may_be_left_out() -> None:
    assert usage("duplicate") == "duplicate BLOBS RIGHT DOWN [TO]"
    assert EVERY.keys() == OPERATIONS.keys()
