"""The commands in the README and in the docs are understood, and their targets exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from launch.cli import VERBS
from launch.compose import compose

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted((ROOT / "docs").glob("*.md"))


def commands(text: str) -> list[list[str]]:
    """The words of every command in the page's shell blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [words for block in blocks for line in block.replace("\\\n", " ").splitlines()
            if (words := shlex.split(line, comments=True))]


COMMANDS = [*commands(README), *(words for page in PAGES for words in commands(page.read_text()))]


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] == "ganvas"], ids=" ".join)
def test_a_ganvas_command_composes(words: list[str]) -> None:
    if words[1] != "--help":
        assert words[1] in VERBS
        compose(words[1], words[2:])


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] == "make"], ids=" ".join)
def test_a_make_target_exists(words: list[str]) -> None:
    assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_a_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
