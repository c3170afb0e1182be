"""The notebooks run, cell by cell, on what ships with Ganvas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from launch.class_judge import ClassJudge
from launch.figures import read_figures
from networks.blobgan import Layout

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``run(name) -> names`` that a notebook's cells leave, run in an empty folder."""
    def cells(name: str) -> dict[str, Any]:
        found = json.loads((NOTEBOOKS / name).read_text())["cells"]
        assert len(found) <= 15
        assert all(cell["outputs"] for cell in found if cell["cell_type"] == "code" and "show(" in cell["source"][-1])
        monkeypatch.chdir(tmp_path)  # it keeps files
        monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
        names: dict[str, Any] = {}
        for cell in found:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
        return names
    return cells


def test_the_notebook_on_editing(run) -> None:
    """Its cells do what its text says: the mouths open, vectors add up, the photo stays outside the region."""
    names = run("editing.ipynb")
    edited = names["edited"]
    assert float(edited.agreement.mean()) > 0.9
    assert (edited.outside < edited.inside / 4).all()
    step = names["laugh"].delta["ws"] + 0.7 * names["bigger"].vector().delta["ws"]
    np.testing.assert_allclose(names["again"].delta["ws"], step, atol=1e-5)
    changed = (names["pasted"] != names["photo"]).any(-1)
    assert 0 < changed.mean() < 0.25
    assert isinstance(names["show"]([names["photo"]]), Image.Image)


def test_the_notebook_on_texts(run) -> None:
    """Its cells do what its text says: each method moves images towards its text, and figures are printed."""
    names = run("texts.ipynb")
    codes, scores, texts = names["codes"], names["scores"], names["texts"]
    after = {"a person wearing glasses": names["found"].at(1.0)} | {
        text: names[name].apply(names["generator"], codes)
        for text, name in (("a smiling person", "smile"), ("a person with a beard", "beard"))
    }  # fmt: skip
    for text, latent in after.items():
        gained = scores(latent)[texts.index(text)] - scores(codes)[texts.index(text)]
        assert gained.mean() > 0.02, text
    assert names["status"] == 0
    assert len(names["strip"]) == 6
    figures = read_figures(Path("figures"))
    assert figures is not None
    assert figures.figures["success at 2"].value > figures.figures["success at 0.5"].value


def test_the_notebook_on_collages(run) -> None:
    """Its cells do what its text says: regions take classes, the rest stays, a program draws the same again."""
    names = run("collage.ipynb")
    painted, real = names["painted"], names["real"]
    judge = ClassJudge.load(["zoo/attributes_styles32.safetensors"], names["editor"].classes)
    assert judge.likely(painted.image, torch.full([8], 7)).float().mean() >= 0.5, "lorelei"
    assert float(painted.inside.mean()) > 3 * float(painted.outside.mean())
    reached = [float((edited.change > 0).float().mean()) for edited in names["by_layer"]]
    assert reached[3] < reached[2] < 1
    assert torch.equal(names["again"].image, names["grown"].image)
    assert not torch.equal(names["shifted"].image, names["grown"].image)
    away = real.region.numpy() < 0.5
    np.testing.assert_array_equal(names["pasted"][away], names["shown"][away])
    assert (names["pasted"] != names["shown"]).any()
    for edited in (names["hair"], names["face"]):
        assert float(edited.inside.mean()) > 2 * float(edited.outside.mean())


def test_the_notebook_on_scenes(run) -> None:
    """Its cells do what its text says: edits stay where their blobs are, they are kept, and a picture is found."""
    names = run("scenes.ipynb")
    for edited in (names["left"], names["right"], names["gone"], names["things"]):
        assert (edited.inside[:5] > 1.5 * edited.outside[:5]).all()  # the last gives its own thing to itself
    centre = Layout.of(names["again"].apply(names["scenes"], 0.5)).centre - names["layout"].centre
    torch.testing.assert_close(centre[:, 1, 0], torch.full([6], 0.15))
    assert not centre[:, [0, *range(2, 12)]].any()
    assert (names["found"].psnr > 20).all()
