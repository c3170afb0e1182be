"""The zoo's pages are what its bundles say, and each card says what only a person knows."""

from __future__ import annotations

import doctest
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from launch import zoo_cards, zoo_facts
from launch.edit_judges import JUDGES
from launch.text_scores import followed, recommended_strengths
from launch.zoo_cards import BEGIN, END, draw_samples, pages
from networks.checkpoints.bundle import read_manifest, save_bundle
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import save_generator
from networks.stylegan2 import Generator

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "zoo"
BUNDLES = sorted(ZOO.glob("*.safetensors"))
CARD = f"""# toy

A toy of
two lines. More.

{BEGIN}
{END}

| | |
|---|---|
| hardware | a clock |

## Known faults

Many.
"""
MANIFEST = {
    "kind": "stylegan2", "config": {"img_resolution": 16}, "images_seen": 12345, "command": "ganvas train a|b",
    "data": {"kind": "avatars", "style": "avataaars", "resolution": 16, "images": 300, "seed": 7}, "licence": "mine",
    "metrics": {"kid_stlpips_alex_x1000": 1.5, "kid_stlpips_alex_x1000_std": 0.25, "protocol": "ten images"},
}  # fmt: skip


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A zoo of one generator and something that belongs to it."""
    save_bundle(tmp_path / "toy.safetensors", {"x": torch.zeros(3)}, MANIFEST)
    owner = read_manifest(tmp_path / "toy.safetensors")["hash"]
    save_bundle(tmp_path / "part.safetensors", {"x": torch.ones(1)}, {"kind": "encoder", "generator": {"hash": owner}})
    for name in ("toy", "part"):
        (tmp_path / f"{name}.md").write_text(CARD.replace("toy", name, 1))
    return tmp_path


@pytest.mark.parametrize("module", [zoo_cards, zoo_facts])
def test_the_examples_hold(module) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("path", sorted(pages(ZOO)), ids=lambda path: path.name)
def test_the_zoo_is_what_the_command_writes(path: Path) -> None:
    assert path.read_text() == pages(ZOO)[path], "run `make zoo-cards`"


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_a_shipped_card_is_whole(path: Path) -> None:
    text = path.with_suffix(".md").read_text()
    for row in ("trained on", "seed", "images seen", "command", "licence", "hardware"):
        assert re.search(rf"^\| {row} \| .+ \|$", text, re.MULTILINE), row


@pytest.mark.parametrize("path", sorted(ZOO.glob("mapper_*.safetensors")), ids=lambda path: path.stem)
def test_a_mapper_s_strengths_are_those_of_judges_that_it_was_not_fitted_to(path: Path) -> None:
    manifest = read_manifest(path)
    table = {float(strength): found for strength, found in manifest["chosen"]["by_strength"].items()}
    low, high = manifest["recommended_strengths"]
    assert (low, high) == recommended_strengths(table)
    assert followed(table[high]) > 0
    judges = [read_manifest(judge)["hash"][:12] for judge in JUDGES]
    assert all(judge in manifest["recommended_by"] and judge in manifest["chosen"]["protocol"] for judge in judges)
    trained, card = manifest["trained_on"], path.with_suffix(".md").read_text()
    assert trained["codes"].endswith(f"(seed {trained['seed']})")
    assert f"| recommended strengths | {low:g} to {high:g}, by success and worst leakage, 200 sampled " in card
    assert f"; {high:g}: {100 * table[high]['success']:.0f} / {100 * table[high]['leakage_worst']:.0f}" in card


@pytest.mark.parametrize("page", sorted(ZOO.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (ZOO / link).exists(), link


@pytest.mark.parametrize("page", sorted(ZOO.glob("*.md")), ids=lambda page: page.name)
def test_every_table_has_a_header(page: Path) -> None:
    for block in re.findall(r"(?:^\|.*\n)+", page.read_text(), re.MULTILINE):
        rule = block.splitlines()[1:2]
        assert rule, block
        assert set(rule[0]) <= set("|-: "), block


def test_pictures_are_small() -> None:
    assert all(path.stat().st_size <= 200_000 for path in ZOO.glob("*.jpg"))


def test_a_card_takes_its_facts_from_the_bundle_and_keeps_what_was_written(zoo: Path) -> None:
    card = pages(zoo)[zoo / "toy.md"]
    for row in (
        "| images seen | 12 345 |", "| trained on | 300 images, avataaars, 16x16 |", "| seed | 7 |",
        "| command | `ganvas train a\\|b` |", "| KID x 1000 (stlpips-alex) | 1.5 ± 0.25 |",
        "| protocol | ten images |", "| resolution | 16x16 |", "| hardware | a clock |",
    ):  # fmt: skip
        assert row in card
    (zoo / "toy.md").write_text(card)
    assert pages(zoo)[zoo / "toy.md"] == card, "written twice it is the same"


def test_the_table_says_what_belongs_to_what(zoo: Path) -> None:
    table = [line.split(" | ") for line in pages(zoo)[zoo / "README.md"].splitlines() if line.startswith("|")]
    head, rows = table[0], {line[0].split("`")[1]: line for line in table[2:] if "`" in line[0]}
    part, toy = rows["part.safetensors"], rows["toy.safetensors"]
    assert toy[0] == f"| `toy.safetensors`, {(zoo / 'toy.safetensors').stat().st_size / 1e3:.0f} kB"
    assert part[head.index("belongs to")] == "`toy.safetensors`"
    assert toy[head.index("what it is")] == "A toy of two lines."
    assert toy[head.index("headline")] == "KID x 1000 (stlpips-alex): 1.5 ± 0.25 (ten images)"
    assert part[head.index("headline")] == "-"
    (zoo / "part.md").write_text((zoo / "part.md").read_text().replace("| hardware", "| headline | 3 dB |\n| hardware"))
    assert "| 3 dB |" in pages(zoo)[zoo / "README.md"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.unlink(), "toy.safetensors has no card"),
        (lambda card: card.write_text(CARD.replace(END, "")), "no place for what its bundle says"),
        (lambda card: card.write_text(CARD.replace("hardware", "tools")), "says nothing of its hardware"),
        (lambda card: card.write_text(CARD.replace("Known faults", "Praise")), "says nothing of its known faults"),
        (lambda card: card.write_text(CARD.removeprefix("# ")), "must begin with a title"),
    ],
)
def test_a_card_that_says_too_little_is_refused(zoo: Path, change, message: str) -> None:
    change(zoo / "toy.md")
    with pytest.raises(GanvasError, match=message):
        pages(zoo)


def test_a_picture_of_samples_is_drawn_and_shown(zoo: Path) -> None:
    network = Generator(16, z_dim=4, w_dim=4, mapping_layers=1, channel_base=64, channel_max=4)
    save_generator(zoo / "toy.safetensors", network, {})
    assert Image.open(draw_samples(zoo / "toy.safetensors")).size == (128, 128)
    shutil.copy(zoo / "toy.jpg", zoo / "again.jpg")
    assert "](toy.jpg)" in pages(zoo)[zoo / "toy.md"]
    assert "[samples](toy.jpg)" in pages(zoo)[zoo / "README.md"]
    draw_samples(zoo / "toy.safetensors")
    assert (zoo / "toy.jpg").read_bytes() == (zoo / "again.jpg").read_bytes()
