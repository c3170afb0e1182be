"""``ganvas train experiment=attributes/...`` leaves a record and a bundle that says how far it can be believed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from launch.cli import main
from launch.figures import read_figures
from networks.attributes import load_attributes
from networks.identity import load_identity

TINY = ["data.resolution=16", "n=24", "task.batch_size=8", "task.epochs=2", "task.network.width=8", "trainer.threads=1",
        "wandb=disabled"]  # fmt: skip


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(shared_cache))


def test_a_run_leaves_figures_beside_what_guessing_gives(tmp_path: Path) -> None:
    words = ["experiment=attributes/avatars", "data.count=16", *TINY]
    assert main(["train", *words, f"out={tmp_path}"]) == 0
    figures = read_figures(tmp_path).figures
    network, manifest = load_attributes(tmp_path / "export" / "attributes.safetensors")
    metrics = manifest["metrics"]
    assert set(metrics["by_attribute"]) == {a.name for a in network.attributes}
    assert metrics["by_attribute"]["smile"]["accuracy"] == figures["accuracy smile"].value
    assert 0 < metrics["by_attribute"]["smile"]["majority"] < 1
    assert metrics["protocol"] == "24 rendered avataaars at 16x16 (split heldout, seed 0)"
    assert "Free for personal and commercial use" in manifest["licence"]
    assert "| eyes |" in (tmp_path / "report.md").read_text()


def test_a_folder_with_a_table_will_do(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("image,side\na.png,left\nb.png,right\nc.png,left\nd.png,right\n")
    words = ["experiment=attributes/folder", f"images={folder / 'images'}", f"task.table={table}", "task.heldout=2",
             "data.resolution=16", "task.batch_size=2", *TINY[3:]]  # fmt: skip
    assert main(["train", *words, f"out={tmp_path / 'run'}"]) == 0
    network, manifest = load_attributes(tmp_path / "run" / "export" / "attributes.safetensors")
    assert [a.values for a in network.attributes] == [("left", "right")]
    assert manifest["trained_on"]["images"] == 2


def test_classes_are_an_attribute(folder: Path, tmp_path: Path) -> None:
    words = ["experiment=attributes/styles32", "data.styles=[avataaars,micah,lorelei]", "data.count=16", *TINY]
    assert main(["train", *words, f"out={tmp_path / 'styles'}"]) == 0
    network, manifest = load_attributes(tmp_path / "styles" / "export" / "attributes.safetensors")
    assert [(a.name, a.values) for a in network.attributes] == [("class", ("avataaars", "micah", "lorelei"))]
    assert manifest["metrics"]["protocol"] == "24 rendered avatars of 3 styles at 16x16 (split heldout, seed 0)"
    assert manifest["metrics"]["majority"] == pytest.approx(1 / 3)
    assert manifest["trained_on"]["data"] == "rendered avatars of 3 styles, split teacher"
    images = tmp_path / "images"
    for i, source in enumerate(sorted((folder / "images").iterdir())):
        target = images / ("cat" if i % 2 else "dog") / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    words = ["experiment=attributes/folder", f"images={images}", "data.labels=true", "task.heldout=2",
             "data.resolution=16", "task.batch_size=2", *TINY[3:]]  # fmt: skip
    assert main(["train", *words, f"out={tmp_path / 'run'}"]) == 0
    network, _ = load_attributes(tmp_path / "run" / "export" / "attributes.safetensors")
    assert network.attributes[0].values == ("cat", "dog")


def test_an_embedding_is_scored_on_persons_it_has_not_seen(tmp_path: Path) -> None:
    words = ["experiment=attributes/identity", "data.count=16", *TINY]
    assert main(["train", *words, f"out={tmp_path}"]) == 0
    network, manifest = load_identity(tmp_path / "export" / "identity.safetensors")
    assert network.embed(torch.zeros(2, 3, 16, 16)).shape == (2, 64)
    assert manifest["metrics"]["rank1"] == read_figures(tmp_path).figures["rank1"].value


@pytest.mark.parametrize(("words", "sentence"), [
    (["experiment=attributes/avatars", "data.count=4", *TINY], "4 images are less than a batch"),
    (["experiment=attributes/folder", "images=x", "data.labels=true", "task.table=y"], "one of task.table=FILE and"),
    (["experiment=attributes/avatars", "data=scenes"], "learns from data=avatars, from the classes of data=styles"),
    (["experiment=attributes/avatars", "data.style=lorelei"], "'lorelei' has no table of attributes"),
    (["experiment=attributes/avatars", "data.count=16", *TINY[1:], "data.resolution=30"], "not of 30"),
    (["experiment=attributes/folder"], "data=folder images=DIR with one of task.table=FILE"),
    (["task=identity", "data=folder"], "give data=avatars"),
    (["experiment=attributes/identity", "data.count=4"], "data.count=4 is less than a batch"),
])  # fmt: skip
def test_what_does_not_fit_is_one_sentence(words: list[str], sentence: str, tmp_path: Path, capsys) -> None:
    assert main(["train", *words, f"out={tmp_path / 'run'}"]) == 2
    assert sentence in capsys.readouterr().err
