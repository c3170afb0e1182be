"""The notebooks run, cell by cell, on what ships with Ganvas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

EDITING = Path(__file__).parents[1] / "docs" / "notebooks" / "editing.ipynb"


def test_the_notebook_on_editing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells do what its text says: the mouths open, vectors add up, the photo stays outside the region."""
    cells = json.loads(EDITING.read_text())["cells"]
    assert len(cells) <= 15
    monkeypatch.chdir(tmp_path)  # it keeps a vector
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    edited = names["edited"]
    assert float(edited.agreement.mean()) > 0.9
    assert (edited.outside < edited.inside / 4).all()
    step = names["laugh"].delta["ws"] + 0.7 * names["bigger"].vector().delta["ws"]
    np.testing.assert_allclose(names["again"].delta["ws"], step, atol=1e-5)
    changed = (names["pasted"] != names["photo"]).any(-1)
    assert 0 < changed.mean() < 0.25
    assert isinstance(names["show"]([names["photo"]]), Image.Image)
