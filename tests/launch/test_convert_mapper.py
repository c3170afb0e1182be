"""``ganvas convert`` of StyleCLIP's mappers: what the bundle says, and what is refused with nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from launch import cli
from launch.compose import compose
from launch.text_methods import Said, clip_of
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.generators import load_generator
from networks.checkpoints.latents import save_latent
from networks.clip import ClipModel
from tests.clips import tiny_clip

W_DIM = 8   # of the tiny generator, which has 8 rows


def original(path: Path, change: Callable[[dict[str, Any]], Any] = lambda checkpoint: None) -> Path:
    """A checkpoint as the original's coach writes it, of a generator of 32x32."""
    draw = torch.Generator().manual_seed(0)
    state = {f"decoder.noises.noise_{i}": torch.zeros(1, 1, 4, 4) for i in range(7)}
    for level in ("course", "medium", "fine"):
        for i in range(1, 5):
            state[f"mapper.{level}_mapping.mapping.{i}.weight"] = 100 * torch.randn(W_DIM, W_DIM, generator=draw)
            state[f"mapper.{level}_mapping.mapping.{i}.bias"] = torch.zeros(W_DIM)
    opts = {"description": "a person with a mohawk", **{f"no_{x}_mapper": False for x in ("coarse", "medium", "fine")}}
    checkpoint = {"state_dict": state, "opts": opts}
    change(checkpoint)
    torch.save(checkpoint, path)
    return path


@pytest.fixture
def loaded(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each CLIP that is loaded, whether it is given images as the original gave them."""
    seen: list[bool] = []

    def load(spec: str, legacy: bool = False) -> ClipModel:
        seen.append(legacy)
        return tiny_clip()

    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))
    monkeypatch.setattr("launch.text_methods.load_clip", load)
    return seen


def test_an_imported_mapper_is_used_with_images_as_the_original_gave_them(
    tiny_generator: Path, loaded: list[bool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "mohawk.safetensors"
    source = original(tmp_path / "mohawk.pt")
    assert cli.main(["convert", f"source={source}", f"generator={tiny_generator}", f"out={bundle}"]) == cli.OK
    manifest = read_manifest(bundle)
    assert (manifest["text"], manifest["neutral"], manifest["step_scale"]) == ("a person with a mohawk", "", 0.1)
    assert [clip["model"] for clip in manifest["clips"]] == ["ViT-B/32"]
    codes = save_latent(tmp_path / "codes.safetensors", load_generator(tiny_generator).sample(2, seed=1))
    words = [f"mapper={bundle}", f"generator={tiny_generator}", f"latents={codes}", f"out={tmp_path / 'out'}"]
    assert cli.main(["edit", *words]) == cli.OK
    assert loaded == [True]
    assert "text: a person with a mohawk (mapper)" in capsys.readouterr().out
    # And back: what it learned with goes along.
    again, third = tmp_path / "again.pt", tmp_path / "third.safetensors"
    assert cli.main(["convert", f"source={bundle}", f"out={again}"]) == cli.OK
    assert cli.main(["convert", f"source={again}", f"generator={tiny_generator}", f"out={third}"]) == cli.OK
    assert read_manifest(third)["clips"] == manifest["clips"]


def test_a_mapper_without_a_text_asks_for_one(
    tiny_generator: Path, loaded: list[bool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, source = tmp_path / "m.safetensors", original(tmp_path / "m.pt", lambda found: found.pop("opts"))
    assert cli.main(["convert", f"source={source}", f"generator={tiny_generator}", f"out={bundle}"]) == cli.OK
    assert "text: unknown: give text=" in capsys.readouterr().out
    codes = save_latent(tmp_path / "codes.safetensors", load_generator(tiny_generator).sample(2, seed=1))
    words = [f"mapper={bundle}", f"generator={tiny_generator}", f"latents={codes}", f"out={tmp_path / 'out'}"]
    assert cli.main(["edit", *words]) == cli.REFUSED
    assert "nothing says what images are to show" in capsys.readouterr().err
    assert cli.main(["edit", *words, "text=a person with a mohawk"]) == cli.OK
    assert loaded == [True]


def test_the_zoo_s_clip_is_asked_as_the_original_s_was(tmp_path: Path) -> None:
    bundle = tmp_path / "m.safetensors"
    assert cli.main(["convert", f"source={original(tmp_path / 'm.pt')}", f"out={bundle}"]) == cli.OK
    cfg = compose("edit", [f"mapper={bundle}", "clip=avatar", f"out={tmp_path / 'out'}"])
    clip = clip_of(cfg, Said.of(cfg))
    assert clip.preprocessing.legacy
    assert "images as the original StyleCLIP gave them" in str(clip.identity)


def _without(*begins: str) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        kept = {name: t for name, t in found["state_dict"].items() if not name.startswith(begins)}
        found["state_dict"] = kept

    return change


def _with(name: str, value: torch.Tensor) -> Callable[[dict[str, Any]], None]:
    return lambda found: found["state_dict"].update({name: value})


def _noises(count: int) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        _without("decoder.")(found)
        found["state_dict"].update({f"decoder.noises.noise_{i}": torch.zeros(1, 1, 4, 4) for i in range(count)})

    return change


def _styles(*numbers: int) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        fine = {name.partition("mapping.")[2]: t for name, t in found["state_dict"].items() if "fine" in name}
        _without("mapper.")(found)
        found["state_dict"].update({f"mapper.mapper_{i}.{name}": t for i in numbers for name, t in fine.items()})

    return change


FINE = "mapper.fine_mapping.mapping.2"


@pytest.mark.parametrize(
    ("change", "given", "says"),
    [
        (_without("mapper.medium"), False, "no_medium_mapper=False: the level medium is missing"),
        (_styles(0, 2, 5), False, "mapper_3, of b8.conv1, is missing"),
        (_styles(0, 99), False, "mapper_99 do not fit: a generator has 11 styles"),
        (_noises(17), True, "the one inside has 18 rows of W+, and the one given 8"),
        (_noises(2), False, "2 noise maps"),
        (_noises(10), True, "10 noise maps"),
        (_with("mapper.fine_mapping.mapping.1.bias", torch.zeros(())), False, "without a usable mapping.1.bias"),
        (_with(f"{FINE}.weight", torch.full((W_DIM, W_DIM), torch.nan)), True, f"m.pt has values in {FINE}.weight"),
    ],
)  # fmt: skip
def test_damaged_mappers_are_one_sentence(
    change: Callable[[dict[str, Any]], None], given: bool, says: str, tiny_generator: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out, source = tmp_path / "m.safetensors", original(tmp_path / "m.pt", change)
    words = [f"generator={tiny_generator}"] if given else []
    assert cli.main(["convert", f"source={source}", f"out={out}", *words]) == cli.REFUSED
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_a_mapper_is_of_no_generator_without_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"source={original(tmp_path / 'm.pt')}", "generator=zoo/rooms64.safetensors", "network=M"]
    assert cli.main(["convert", *words, f"out={tmp_path / 'm.safetensors'}"]) == cli.REFUSED
    assert "which has no W+: give a StyleGAN2" in capsys.readouterr().err
