"""Mappers held against the original's code, derived from generators, and as edits."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from networks.blobgan import BlobGenerator
from networks.checkpoints.edits import load_edit, save_edit
from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.latent_edit import LatentEdit
from networks.levels import LEVELS, level_rows, style_levels
from networks.mapper import STYLECLIP, Group, Mapper, MapperEdit, Part, Recipe, build_mapper, in_space, mapper_for
from networks.mapper.network import module_name
from networks.stylegan2 import Generator

ORIGINAL = json.loads(Path(__file__).with_name("styleclip.json").read_text())
WIDTH = 8
SPLIT = [Group(name, "ws", WIDTH, (rows.start, rows.stop), 10) for name, rows in level_rows(10).items()]
STYLES = {"b4.conv1": 8, "b4.torgb": 8, "b8.conv0": 8, "b8.conv1": 8, "b8.torgb": 8, "b16.conv0": 8, "b16.conv1": 6,
          "b16.torgb": 6}  # fmt: skip


def waves(*shape: int, by: float = 0.37) -> torch.Tensor:
    return torch.cos(torch.arange(math.prod(shape), dtype=torch.float64) * by).float().reshape(shape)


def original_weights(mapper: Mapper, theirs: dict[str, str]) -> Mapper:
    """The weights that the numbers were made with; ``theirs``: group -> what its network is called in the original."""
    names = {
        f"{theirs[group.name]}mapping.{i + 1}.{kind}": f"networks.{module_name(group.name)}.{place}.{kind}"
        for group in mapper.groups for i, place in enumerate(["layers.0", "layers.1", "layers.2", "head"])
        for kind in ("weight", "bias")
    }  # fmt: skip
    state = mapper.state_dict()
    for i, name in enumerate(sorted(names)):
        like = state[names[name]]
        values = torch.sin(torch.arange(like.numel(), dtype=torch.float64) * 0.7 + i).float().reshape(like.shape)
        state[names[name]] = values * (100 if name.endswith("weight") else 20)
    mapper.load_state_dict(state)
    return mapper


def levels_mapper(recipe: Recipe = STYLECLIP, names: tuple[str, ...] = LEVELS) -> Mapper:
    torch.manual_seed(0)
    return Mapper("w+", [group for group in SPLIT if group.name in names], recipe)


def moved(mapper: Mapper, seed: int = 0) -> Mapper:
    """With a head that does something."""
    torch.manual_seed(seed)
    for network in mapper.networks.values():
        torch.nn.init.normal_(network.head.weight, std=0.1)
    return mapper


def tiny(resolution: int = 32, **arguments: object) -> Generator:
    torch.manual_seed(0)
    G = Generator(resolution, z_dim=8, w_dim=WIDTH, mapping_layers=2, channel_base=256, channel_max=16, **arguments)
    return G.eval().requires_grad_(False)


THEIRS = {"coarse": "course_mapping.", "medium": "medium_mapping.", "fine": "fine_mapping."}


@pytest.mark.parametrize(("numbers", "names"), [("levels", LEVELS), ("without_fine", ("coarse", "medium"))])
def test_levels_are_the_originals(numbers: str, names: tuple[str, ...]) -> None:
    mapper = original_weights(levels_mapper(names=names), THEIRS)
    steps = mapper({"ws": waves(2, 10, WIDTH)})["ws"]
    torch.testing.assert_close(steps.flatten(), torch.tensor(ORIGINAL[numbers]), rtol=1e-5, atol=1e-5)


def test_a_single_mapper_is_the_originals() -> None:
    mapper = original_weights(Mapper("w+", [Group("all", "ws", WIDTH, (0, 10), 10)], STYLECLIP), {"all": "mapping."})
    steps = mapper({"ws": waves(2, 10, WIDTH)})["ws"]
    torch.testing.assert_close(steps.flatten(), torch.tensor(ORIGINAL["single"]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("numbers", "torgb"), [("styles", False), ("all_styles", True)])
def test_styles_are_the_originals(numbers: str, torgb: bool) -> None:
    groups = [Group(path, path, width) for path, width in STYLES.items() if torgb or not path.endswith("torgb")]
    mapper = original_weights(Mapper("s", groups, STYLECLIP), {
        path: f"mapper_{i}." for i, path in enumerate(STYLES)
    })  # fmt: skip
    codes = {path: waves(2, width) for path, width in STYLES.items()}
    steps = mapper(codes)
    found = torch.cat([steps.get(path, torch.zeros_like(x)).flatten() for path, x in codes.items()])
    torch.testing.assert_close(found, torch.tensor(ORIGINAL[numbers]), rtol=1e-5, atol=1e-5)


def test_the_originals_norm_sees_signs_alone_of_codes_in_w() -> None:
    w = torch.randn(1, 1, WIDTH).expand(1, 10, -1)
    original, ours = levels_mapper(), moved(levels_mapper(Recipe()))
    for mapper, same in ((original, True), (ours, False)):
        other = w * torch.linspace(0.5, 3, WIDTH)  # another code of the same signs
        steps, others = mapper({"ws": w})["ws"], mapper({"ws": other})["ws"]
        assert torch.allclose(steps, others, rtol=1e-3, atol=1e-4) == same


@pytest.mark.parametrize("kind", ["levels", "single", "styles"])
def test_a_fresh_mapper_of_ours_leaves_images_as_they_are(kind: str) -> None:
    G = tiny()
    mapper = mapper_for(G, kind, Recipe())
    latent = in_space(G, G.sample(2, seed=1), mapper.space)
    edit = LatentEdit(mapper.space, module=MapperEdit.by(mapper))
    assert torch.equal(G.render(edit.apply(latent, 3.0)), G.render(latent))
    original = LatentEdit(mapper.space, module=MapperEdit.by(mapper_for(G, kind, STYLECLIP, measured=False)))
    assert not torch.equal(G.render(original.apply(latent)), G.render(latent))


@pytest.mark.parametrize(("resolution", "coarse", "fine"), [(16, 2, 2), (32, 4, 2), (64, 4, 2), (256, 4, 6)])
def test_the_split_follows_from_the_generator(resolution: int, coarse: int, fine: int) -> None:
    G = tiny(resolution)
    groups = {group.name: group for group in mapper_for(G, "levels", Recipe()).groups}
    assert groups["coarse"].rows == (0, coarse)
    assert groups["fine"].rows == (G.num_ws - fine, G.num_ws)
    assert groups["coarse"].rows[1] == groups["medium"].rows[0]
    assert groups["medium"].rows[1] == groups["fine"].rows[0]


def test_styles_have_the_level_of_their_row() -> None:
    G = tiny(64)
    rows = level_rows(G.num_ws)
    for path, level in style_levels(G.synthesis.style_rows()).items():
        assert G.synthesis.style_rows()[path] in rows[level]


@pytest.mark.parametrize("torgb", [False, True])
def test_colours_are_moved_in_s_only_if_asked(torgb: bool) -> None:
    G = tiny()
    mapper = moved(mapper_for(G, "styles", Recipe(), torgb=torgb))
    latent = in_space(G, G.sample(2, seed=1), "s")
    after = MapperEdit.by(mapper).apply(latent, 1.0)
    changed = {path for path, x in latent.tensors.items() if not torch.equal(x, after.tensors[path])}
    assert changed == {path for path in latent.tensors if torgb or not path.endswith("torgb")}


def test_levels_that_are_left_out_stay() -> None:
    G = tiny()
    mapper = moved(mapper_for(G, "levels", Recipe(), levels=["medium"]))
    latent = G.sample(2, seed=1)
    after = MapperEdit.by(mapper).apply(latent, 1.0)
    still = [torch.equal(after.tensors["ws"][:, i], latent.tensors["ws"][:, i]) for i in range(G.num_ws)]
    assert [i for i, same in enumerate(still) if not same] == [*level_rows(G.num_ws)["medium"]]


def test_steps_are_in_units_of_the_codes() -> None:
    G = tiny()
    one = moved(mapper_for(G, "levels", Recipe()))
    two = moved(mapper_for(G, "levels", Recipe(step_scale=2.0)))
    codes = G.sample(4, seed=1).tensors
    torch.testing.assert_close(two(codes)["ws"], 2 * one(codes)["ws"])
    unit = one.networks["coarse"].unit
    torch.testing.assert_close(one.lengths(one(codes)), (one(codes)["ws"] / unit).square().mean((1, 2)))


def test_a_generator_without_rows_has_a_single_mapper() -> None:
    torch.manual_seed(0)
    G = BlobGenerator(32, k=2, channels=[8, 6], z_dim=4, hidden_dim=8, layers=2, structure_dim=6, style_dim=4)
    mapper = moved(mapper_for(G, "single", Recipe()))
    latent = in_space(G, G.sample(2, seed=0), "w")
    after = LatentEdit("w", module=MapperEdit.by(mapper)).apply(latent)
    assert G.render(after).shape == (2, 3, 32, 32)
    with pytest.raises(GanvasError, match="choose `single`"):
        mapper_for(G, "levels", Recipe())


# As edits.


def edit_of(seed: int, **about: object) -> LatentEdit:
    return LatentEdit("w+", module=MapperEdit.by(moved(levels_mapper(Recipe()), seed)), **about)


def codes(n: int = 3) -> Latent:
    return Latent("w+", {"ws": waves(n, 10, WIDTH, by=1.3)})


def ws(latent: Latent) -> torch.Tensor:
    return latent.tensors["ws"]


def test_strength_scales_the_step_and_may_be_negative() -> None:
    edit, start = edit_of(0), codes()
    step = ws(edit.apply(start)) - ws(start)
    assert step.abs().max() > 0.01
    for strength in (-1.0, 0.5, 2.0):
        torch.testing.assert_close(ws(edit.apply(start, strength)) - ws(start), strength * step)
    torch.testing.assert_close(ws((0.5 * edit).apply(start, 3.0)), ws(edit.apply(start, 1.5)))


def test_strength_by_level_is_strength_by_row() -> None:
    edit, start = edit_of(0), codes()
    by_row = torch.tensor([1.0] * 4 + [-2.0] * 4 + [0.0] * 2)
    by_level = {"coarse": 1.0, "medium": -2.0, "fine": 0.0}
    torch.testing.assert_close(ws(edit.apply(start, by_level)), ws(edit.apply(start, by_row)))
    assert torch.equal(ws(edit.apply(start, by_level))[:, 8:], ws(start)[:, 8:])
    step = LatentEdit("w+", {"ws": torch.ones(10, WIDTH)})  # the same for what is no mapper
    torch.testing.assert_close(ws(step.apply(start, by_level)), ws(step.apply(start, by_row)))


def test_strength_by_level_reaches_styles() -> None:
    G = tiny(64)
    latent = in_space(G, G.sample(2, seed=1), "s")
    edit = LatentEdit("s", module=MapperEdit.by(moved(mapper_for(G, "styles", Recipe()))))
    after = edit.apply(latent, {"coarse": 0.0, "medium": 1.0, "fine": 0.0})
    changed = {path for path, x in latent.tensors.items() if not torch.equal(x, after.tensors[path])}
    at = style_levels(latent.tensors)
    assert changed == {path for path in latent.tensors if at[path] == "medium" and not path.endswith("torgb")}


def test_sequence_and_sum_are_what_they_say() -> None:
    a, b, start = edit_of(1), edit_of(2), codes()
    in_sequence = b.apply(a.apply(start, 0.7), 0.7)
    torch.testing.assert_close(ws((a + b).apply(start, 0.7)), ws(in_sequence))
    by_sum = ws(a.apply(start, 0.7)) + ws(b.apply(start, 0.7)) - ws(start)
    torch.testing.assert_close(ws(a.beside(b).apply(start, 0.7)), by_sum)
    assert not torch.allclose(by_sum, ws(in_sequence))
    torch.testing.assert_close(ws((2.0 * a.beside(b)).apply(start, 0.35)), by_sum)
    steps = [LatentEdit("w+", {"ws": torch.full((10, WIDTH), value)}) for value in (1.0, 2.0)]
    torch.testing.assert_close(steps[0].beside(steps[1]).delta["ws"], (steps[0] + steps[1]).delta["ws"])


def test_a_bundle_gives_the_edit_back(tmp_path: Path) -> None:
    edit = 0.5 * edit_of(1, name="smile").beside(edit_of(2, name="hat")) + edit_of(3, name="sad")
    found = load_edit(save_edit(tmp_path / "e.safetensors", edit, {"text": "a smiling person"}))
    assert torch.equal(ws(found.apply(codes(), -1.5)), ws(edit.apply(codes(), -1.5)))
    assert found.name == "smile + hat + sad"


def test_a_conditioned_mapper_is_an_edit_of_its_condition(tmp_path: Path) -> None:
    mapper = moved(levels_mapper(Recipe(condition=4)))
    for network in mapper.networks.values():
        for layer in network.modulations:
            torch.nn.init.normal_(layer.weight)
    first, second = (LatentEdit("w+", module=MapperEdit.by(mapper, condition)) for condition in torch.eye(4)[:2])
    assert not torch.allclose(ws(first.apply(codes())), ws(second.apply(codes())))
    found = load_edit(save_edit(tmp_path / "e.safetensors", second))
    assert torch.equal(ws(found.apply(codes())), ws(second.apply(codes())))
    with pytest.raises(ValueError, match="condition of width 4"):
        MapperEdit.by(mapper)


def test_the_configuration_and_the_weights_are_the_mapper() -> None:
    mapper = moved(mapper_for(tiny(), "styles", Recipe(hidden=5, depth=3)))
    again = build_mapper(json.loads(json.dumps(mapper.config)))
    again.load_state_dict(mapper.state_dict())
    latent = in_space(tiny(), tiny().sample(2, seed=3), "s")
    for path, step in mapper(latent.tensors).items():
        assert torch.equal(again(latent.tensors)[path], step)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: edit_of(0).apply(Latent("w+", {"ws": torch.zeros(1, 18, WIDTH)})), r"ws \[10, 8\], and .* \[18, 8\]"),
        (lambda: edit_of(0).apply(Latent("w+", {"ws": torch.zeros(1, 10, 4)})), r"ws \[10, 8\], and .* \[10, 4\]"),
        (lambda: edit_of(0).apply(Latent("w", {"w": torch.zeros(1, WIDTH)})), r"in w\+, and these are in w"),
        (lambda: edit_of(0).apply(codes(), math.nan), "finite number"),
        (lambda: edit_of(0).apply(codes(), torch.ones(3)), r"\[10\], got \[3\]"),
        (lambda: edit_of(0).apply(codes(), {"coarse": 1.0}), "one each for coarse, medium, fine"),
        (lambda: edit_of(0).apply(codes(), dict.fromkeys(LEVELS, math.inf)), "finite number"),
        (lambda: LatentEdit("w", {"w": torch.ones(4)}).apply(
            Latent("w", {"w": torch.zeros(1, 4)}), dict.fromkeys(LEVELS, 1.0)), r"levels in w\+ and s"),
        (lambda: edit_of(0) + LatentEdit("w+", {"ws": torch.zeros(10, WIDTH)}), "spaces do not add"),
        (lambda: (edit_of(0) + edit_of(1)).beside(edit_of(2)), "add before, then go on"),
        (lambda: MapperEdit(()), "at least one"),
        (lambda: MapperEdit(((Part(levels_mapper()),), (Part(Mapper("s", [Group("a", "a", 1)], STYLECLIP)),))),
         r"different spaces .* s, w\+"),
        (lambda: Mapper("w+", [], STYLECLIP), "needs groups"),
        (lambda: Recipe(norm="rows"), "norm is features or layers"),
        (lambda: Recipe(depth=0), "depth is at least 1"),
        (lambda: level_rows(7), "even number of rows from 6"),
        (lambda: style_levels(["b4.conv2"]), "no style of StyleGAN2"),
        (lambda: build_mapper({"space": "w+"}), "does not describe a mapper"),
        (lambda: MapperEdit.of({"stages": 3}, {}), "no lists of mappers"),
        (lambda: MapperEdit.of({"stages": [[{"mapper": levels_mapper().config, "strength": 1.0}]]}, {}), "do not fit"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(make, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_unknown_kinds_and_levels_are_one_sentence() -> None:
    with pytest.raises(GanvasError, match="no mapper `deep`; choose of levels, single, styles"):
        mapper_for(tiny(), "deep", Recipe())
    with pytest.raises(GanvasError, match=r"levels=\[hair\] must be some of coarse, medium, fine"):
        mapper_for(tiny(), "levels", Recipe(), levels=["hair"])
    with pytest.raises(GanvasError, match="cannot be brought into w of this generator"):
        in_space(tiny(), tiny().sample(1, 0), "w")
