"""Debian's furniture: read from a package or a folder, reduced to few triangles of the catalogue's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules import furniture_models
from datamodules.furniture import CatalogueEntry, furniture_digest, read_furniture
from datamodules.furniture_models import FACES, load_furniture, reduce_model
from datamodules.room_classes import DRAWN, LICENCES, MODELS, ROOM_CLASSES, class_of_models
from networks.checkpoints.errors import GanvasError
from tests.furniture import MATERIALS, SIZES, obj, write_deb, write_furniture


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))


def test_a_package_and_its_unpacked_folder_give_the_same_models(tmp_path: Path) -> None:
    folder = write_furniture(tmp_path / "unpacked")
    package = write_deb(folder, tmp_path / "some.deb")
    assert furniture_digest(read_furniture(folder)) == furniture_digest(read_furniture(package))
    first, second = load_furniture(package, progress=False), load_furniture(folder, progress=False)
    assert first.digest == second.digest
    assert len(first.models) == len(SIZES)
    assert load_furniture(first.path).digest == first.digest  # the reduced file stands for the package


def test_a_model_has_its_catalogue_size_and_few_triangles(tmp_path: Path) -> None:
    furniture = load_furniture(write_furniture(tmp_path / "unpacked"), progress=False)
    for model in furniture.models:
        width, height, depth = model.size
        assert np.array(model.size) * 100 == pytest.approx(SIZES[model.key][:3])
        low, high = model.triangles.min(axis=(0, 1)), model.triangles.max(axis=(0, 1))
        tight = 0.03 * max(model.size)  # reducing a ball moves its surface a little
        assert low == pytest.approx((-width / 2, 0, -depth / 2), abs=tight)
        assert high == pytest.approx((width / 2, height, depth / 2), abs=tight)
        assert len(model.triangles) == len(model.colors) == len(model.parts)
    plant = furniture.of("plant")[0]
    assert 50 < len(plant.triangles) <= 1.5 * FACES["plant"] < 2 * 47 * 47


def test_colours_are_the_materials_and_a_window_has_no_glass(tmp_path: Path) -> None:
    furniture = load_furniture(write_furniture(tmp_path / "unpacked"), progress=False)
    found = {model.key: {tuple(color.round(1)) for color in model.colors.astype(float)} for model in furniture.models}
    assert found["Scopia#door"] == {(0.8, 0.2, 0.2)}
    assert found["Scopia#bed1"] == {(0.8, 0.2, 0.2), (0.0, 0.8, 0.1)}  # of the texture
    assert found["Scopia#window_2x4"] == {(0.8, 0.2, 0.2)}


def test_a_catalogue_s_rotation_turns_the_model() -> None:
    files = {"m.obj": "\n".join([obj(""), "v 1 3 -1", "usemtl cloth", "f 1 2 9"]).encode(), "m.mtl": MATERIALS.encode()}
    quarter = (0, 0, 1, 0, 1, 0, -1, 0, 0)
    tops = []
    for rotation in (None, quarter):
        model = reduce_model(CatalogueEntry("k", "a/m.obj", (2, 3, 2), 0, 3, rotation), files, "chair")
        points = model.triangles.reshape(-1, 3)
        tops.append(points[points[:, 1].argmax()])
    assert tops[0] == pytest.approx((1, 3, -1))
    assert tops[1] == pytest.approx(np.reshape(quarter, (3, 3)) @ tops[0])


def test_the_table_names_classes_and_libraries_that_have_a_licence() -> None:
    assert set(ROOM_CLASSES.names) == {*MODELS, *DRAWN}
    libraries = {name for table in MODELS.values() for name in table}
    plain = {library.replace("-", "").lower() for library in LICENCES}
    assert {library.replace("-", "").replace(" ", "").lower() for library in libraries} == plain
    assert len(class_of_models()) == sum(len(models) for table in MODELS.values() for models in table.values())


def test_what_is_no_furniture_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.sh3f").write_bytes(b"no zip")
    (tmp_path / "odd.deb").write_bytes(b"text")
    (tmp_path / "odd.safetensors").write_bytes(b"text")
    newer = tmp_path / "newer.deb"
    newer.write_bytes(b"!<arch>\n" + f"{'data.tar.zst':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{0:<10}`\n".encode())
    for path, sentence in (
        ("missing", "does not exist: give the Debian package"), ("empty", "holds no *.sh3f library"),
        ("bad", "the furniture library a cannot be read"), ("odd.deb", "is no Debian package, or damaged"),
        ("odd.safetensors", "is no file of reduced furniture"), ("newer.deb", "unpack it with `dpkg-deb -x"),
    ):  # fmt: skip
        with pytest.raises(GanvasError) as refusal:
            load_furniture(tmp_path / path, progress=False)
        assert sentence in str(refusal.value)


def test_a_package_without_any_bed_is_refused(tmp_path: Path) -> None:
    folder = write_furniture(tmp_path / "unpacked", without="Scopia#bed1")
    with pytest.raises(GanvasError, match="has no model of the class 'bed'"):
        load_furniture(folder, progress=False)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(furniture_models, "find_spec", lambda name: None if name == "embreex" else object())
    with pytest.raises(GanvasError, match=r"needs the package embreex, .* `pip install 'ganvas\[rooms\]'`"):
        load_furniture(write_furniture(tmp_path / "unpacked"), progress=False)
