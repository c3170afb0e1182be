"""StyleCLIP's mapper files: what their programs wrote comes in, and what goes out is what they would have written."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch

from networks.checkpoints.edits import load_edit, save_edit
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_foreign, load_generator, save_generator
from networks.checkpoints.pickles import read_torch
from networks.checkpoints.styleclip import is_styleclip, read_styleclip, write_styleclip
from networks.latent_edit import LatentEdit
from networks.levels import LEVELS
from networks.mapper import STYLECLIP, MapperEdit, Recipe, in_space, mapper_for
from networks.protocol import Generator as GeneratorProtocol
from networks.stylegan2 import Generator
from tests.networks.test_mapper import ORIGINAL, STYLES, WIDTH, waves

LEVEL = [(f"mapping.{i}.{kind}", (WIDTH, WIDTH)[: 2 if kind == "weight" else 1]) for i in range(1, 5)
         for kind in ("bias", "weight")]  # fmt: skip


def written(folder: Path, *networks: str, decoder_layers: int = 9, width: int = WIDTH, **opts: Any) -> Path:
    """A checkpoint as their coach writes it, with the weights of the golden numbers."""
    names = {f"{network}{name}": shape for network in networks for name, shape in LEVEL}
    state = {}
    for i, (name, shape) in enumerate(sorted(names.items())):
        count = torch.Size(shape).numel()
        values = torch.sin(torch.arange(count, dtype=torch.float64) * 0.7 + i).float().reshape(shape)
        values = values * (100 if name.endswith("weight") else 20)
        state[f"mapper.{name}"] = values[tuple(slice(0, width) for _ in shape)]
    state |= {f"decoder.noises.noise_{i}": torch.zeros(1, 1, 4, 4) for i in range(decoder_layers)}
    torch.save({"state_dict": state, "opts": {"description": "a person with a mohawk", "device": "cuda:0", **opts}},
               folder / "mohawk.pt")  # fmt: skip
    return folder / "mohawk.pt"


ALL = ("course_mapping.", "medium_mapping.", "fine_mapping.")


@functools.cache
def generator_of(folder: Path) -> GeneratorProtocol:
    torch.manual_seed(0)
    G = Generator(16, z_dim=WIDTH, w_dim=WIDTH, mapping_layers=2)
    return load_generator(save_generator(folder / "g.safetensors", G, {}))


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> GeneratorProtocol:
    """Of 16x16, as rosinality's format can hold it."""
    return generator_of(tmp_path_factory.mktemp("g"))


@pytest.mark.parametrize(
    ("networks", "numbers", "levels"),
    [(ALL, "levels", ["coarse", "medium", "fine"]), (ALL[:2], "without_fine", ["coarse", "medium"]),
     (("mapping.",), "single", ["all"])],
)  # fmt: skip
def test_levels_are_inferred_from_the_keys(
    networks: tuple[str, ...], numbers: str, levels: list[str], tmp_path: Path
) -> None:
    path = written(tmp_path, *networks, no_fine_mapper=True)  # of a level that is there it is not believed
    assert is_styleclip(path)
    edit, about = read_styleclip(path)
    assert (about["text"], about["levels"], about["step_scale"]) == ("a person with a mohawk", levels, 0.1)
    assert (edit.name, edit.generator_hash) == ("a person with a mohawk", None)
    steps = edit.module.stages[0][0].mapper({"ws": waves(2, 10, WIDTH)})["ws"]
    torch.testing.assert_close(steps.flatten(), torch.tensor(ORIGINAL[numbers]), rtol=1e-5, atol=1e-5)


STYLED = ("mapper_0.", "mapper_2.", "mapper_3.", "mapper_5.", "mapper_6.")   # of 16x16, those of ToRGB apart


def test_a_mapper_of_styles_comes_in(tmp_path: Path) -> None:
    edit, about = read_styleclip(written(tmp_path, *STYLED, decoder_layers=5))
    paths = ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"]
    assert edit.space == "s"
    assert about["levels"] == paths
    codes = {path: waves(1, WIDTH) for path in [*STYLES, *paths]}
    assert set(edit.module.stages[0][0].mapper(codes)) == set(paths)
    every = [f"mapper_{i}." for i in range(8)]
    assert len(read_styleclip(written(tmp_path, *every, decoder_layers=5))[1]["levels"]) == 8


@pytest.mark.parametrize(
    ("names", "layers", "says"),
    [
        ([*STYLED[:3], STYLED[4]], 5, r"mapper_5, of b16\.conv0, is missing"),
        (STYLED[:4], 5, r"mapper_6, of b16\.conv1, is missing"),
        (STYLED[:4], 0, r"mapper_6, of b16\.conv1, is missing"),     # of a generator that is not known
        (STYLED, 9, r"mapper_8, of b32\.conv0, is missing"),
        ([*STYLED, "mapper_1."], 5, r"mapper_4, of b8\.torgb, is missing"),
        ([*STYLED, "mapper_8."], 5, "mapper_8 do not fit: a generator has 8 styles"),
        (["mapper_0.", "mapper_99."], 0, "mapper_99 do not fit: a generator has 26 styles"),
        (["mapper_00."], 5, "holds mappers called mapper_00"),
    ],
)  # fmt: skip
def test_a_mapper_of_some_styles_is_refused(names: list[str], layers: int, says: str, tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=says):
        read_styleclip(written(tmp_path, *names, decoder_layers=layers))


def test_a_level_that_the_arguments_speak_of_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=r"no medium_mapping, and .* the level medium is missing"):
        read_styleclip(written(tmp_path, ALL[0], ALL[2], no_medium_mapper=False))
    for opts in ({"no_medium_mapper": True, "no_fine_mapper": False}, {}):
        _, about = read_styleclip(written(tmp_path, ALL[0], ALL[2], **opts))
        assert about["levels"] == ["coarse", "fine"]


def test_what_is_known_of_every_original_mapper_is_said(generator: GeneratorProtocol, tmp_path: Path) -> None:
    edit, about = read_styleclip(written(tmp_path, *ALL))
    (clip,) = about["clips"]
    assert (clip["provider"], clip["model"], clip["preprocessing"]["legacy"]) == ("openai", "ViT-B/32", True)
    assert about["neutral"] == ""
    assert "text" not in read_styleclip(written(tmp_path, *ALL, description=None))[1]
    # A file of ours may come from another CLIP.
    edit = LatentEdit("w+", module=MapperEdit.by(mapper_for(generator, "levels", STYLECLIP, measured=False)))
    own = {"clips": [{**clip, "model": "mine"}], "neutral": "a person", "command": "ganvas train"}
    write_styleclip(tmp_path / "own.pt", edit, generator, own)
    assert read_styleclip(tmp_path / "own.pt")[1].items() >= {"clips": own["clips"], "neutral": "a person"}.items()
    assert "command" not in read_styleclip(tmp_path / "own.pt")[1]
    write_styleclip(tmp_path / "silent.pt", edit, generator)
    assert "clips" not in read_styleclip(tmp_path / "silent.pt")[1]


@pytest.mark.parametrize(
    ("kind", "decoder"), [("levels", True), ("levels", False), ("single", False), ("styles", False)]
)
def test_what_goes_out_comes_back(kind: str, decoder: bool, generator: GeneratorProtocol, tmp_path: Path) -> None:
    levels = LEVELS if kind == "styles" else LEVELS[:2]
    mapper = mapper_for(generator, kind, STYLECLIP, levels=levels, measured=False)
    edit = LatentEdit(mapper.space, {}, generator.hash, name="a hat", module=MapperEdit.by(mapper))
    path = tmp_path / "m.pt"
    said = write_styleclip(path, edit, generator if decoder else None)
    assert bool(said) != decoder
    found, about = read_styleclip(path, None if decoder else generator)
    assert about["text"] == "a hat"
    latent = in_space(generator, generator.sample(2, seed=1), mapper.space)
    for name, codes in edit.apply(latent).tensors.items():
        assert torch.equal(found.apply(latent).tensors[name], codes)
    if decoder:
        inside = load_foreign(path, "G_ema")
        torch.testing.assert_close(inside.render(inside.sample(1, 0)), generator.render(generator.sample(1, 0)))


def test_the_original_finds_its_keys(generator: GeneratorProtocol, tmp_path: Path) -> None:
    mapper = mapper_for(generator, "levels", STYLECLIP, levels=["coarse", "fine"], measured=False)
    path = tmp_path / "m.pt"
    write_styleclip(path, LatentEdit("w+", module=MapperEdit.by(mapper)), generator)
    found = read_torch(path)
    own = {name for name in found["state_dict"] if name.startswith("mapper.")}
    assert own == {f"mapper.{network}{name}" for network in (ALL[0], ALL[2]) for name, _ in LEVEL}
    assert found["opts"]["no_medium_mapper"]
    assert found["opts"]["stylegan_size"] == 16
    assert "decoder.convs.0.conv.weight" in found["state_dict"]


def test_a_bundle_of_a_legacy_mapper_is_small(tmp_path: Path) -> None:
    edit, about = read_styleclip(written(tmp_path, *ALL))
    path = save_edit(tmp_path / "m.safetensors", edit, about)
    assert path.stat().st_size < 20_000  # the mapper alone
    assert load_edit(path).module.config() == edit.module.config()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: state.pop("mapper.fine_mapping.mapping.3.weight"), "fine_mapping without a usable mapping.3.we"),
        (lambda state: state.update({"mapper.fine_mapping.mapping.1.bias": torch.zeros(3)}), "without a usable"),
        (lambda state: state.update({"mapper.hair_mapping.mapping.1.bias": torch.zeros(3)}), "without a usable"),
        (lambda state: state.update({"mapper.what": torch.zeros(3)}), "mapper.what, which is no part of a mapper"),
        (lambda state: [state.pop(name) for name in [*state] if name.startswith("decoder")], "give generator=FILE"),
        (lambda state: [state.pop(name) for name in [*state] if name.startswith("mapper")], "holds no mapper"),
        (lambda state: state.update({"mapper.fine_mapping.mapping.1.bias": torch.zeros(())}), "usable mapping.1.bias"),
        (lambda state: state["mapper.fine_mapping.mapping.2.weight"].fill_(torch.nan),
         "NaN or infinite: its training"),
    ],
)
def test_damaged_files_are_one_sentence(change, says: str, tmp_path: Path) -> None:
    path = written(tmp_path, *ALL)
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint["state_dict"])
    torch.save(checkpoint, path)
    with pytest.raises(GanvasError, match=says):
        read_styleclip(path)


@pytest.mark.parametrize(
    ("layers", "says"),
    [(2, "2 noise maps, and each has an odd number"), (10, "10 noise maps"), (3, "its generator has none: levels are")],
)
def test_a_decoder_that_is_no_generator_is_refused(layers: int, says: str, tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=says):
        read_styleclip(written(tmp_path, *ALL, decoder_layers=layers))


def test_levels_of_different_widths_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, *ALL)
    checkpoint = torch.load(path, weights_only=True)
    for name, t in checkpoint["state_dict"].items():
        if "fine_mapping" in name:
            checkpoint["state_dict"][name] = t[tuple(slice(0, WIDTH - 1) for _ in t.shape)]
    torch.save(checkpoint, path)
    with pytest.raises(GanvasError, match=f"different widths .*fine_mapping {WIDTH - 1}"):
        read_styleclip(path)


def test_a_mapper_of_another_generator_is_refused(generator: GeneratorProtocol, tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=r"the one inside has 18 rows of W.*, and the one given 6"):
        read_styleclip(written(tmp_path, *ALL, decoder_layers=17), generator)
    with pytest.raises(GanvasError, match="of another generator"):
        read_styleclip(written(tmp_path, *ALL, width=WIDTH - 1, decoder_layers=5), generator)
    with pytest.raises(GanvasError, match="there is no file"):
        read_styleclip(tmp_path / "none.pt")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda G: MapperEdit.by(mapper_for(G, "levels", Recipe())), r"\(task=mapper_styleclip_legacy\)"),
        (lambda G: MapperEdit.by(mapper_for(G, "styles", STYLECLIP, LEVELS[:2], measured=False)), "mapper_6, of b16"),
        (lambda G: MapperEdit.by(mapper_for(G, "levels", STYLECLIP)), "where a generator's codes lie"),
        (lambda G: MapperEdit.by(mapper_for(G, "levels", STYLECLIP, measured=False)).scaled(0.5), "at strength 1"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(make, says: str, generator: GeneratorProtocol, tmp_path: Path) -> None:
    module = make(generator)
    with pytest.raises(GanvasError, match=says):
        write_styleclip(tmp_path / "m.pt", LatentEdit(module.space, module=module))
    assert not (tmp_path / "m.pt").exists()
