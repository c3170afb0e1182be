"""The commands in the README are understood, and its targets exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from launch.cli import VERBS
from launch.compose import compose

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
COMMANDS = [shlex.split(line, comments=True) for block in BLOCKS for line in block.splitlines() if line.strip()]


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
