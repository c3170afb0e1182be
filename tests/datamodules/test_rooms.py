"""Rendered rooms: determined by their address, nothing within another, masks and places that fit the picture."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from datamodules import rooms
from datamodules.furniture_models import Furniture, load_furniture
from datamodules.room_parts import Camera, Lights, Piece, Room, Surfaces
from datamodules.room_plan import plan_room
from datamodules.room_render import render_room
from datamodules.room_shards import RoomShards
from datamodules.rooms import ROOM_CLASSES, RoomObject, RoomSet, default_count, render_rooms
from networks.checkpoints.errors import GanvasError
from tests.furniture import write_furniture

WHITE = (0.9, 0.9, 0.9)
PAINT = Surfaces((WHITE, WHITE, WHITE), "plain", WHITE, WHITE, "carpet", WHITE)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_furniture(tmp_path_factory.mktemp("furniture") / "unpacked")


@pytest.fixture(scope="module")
def furniture(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Furniture:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return load_furniture(package, progress=False)


@pytest.fixture
def draw(furniture: Furniture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``render_rooms`` on the small furniture, with a cache of its own."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))

    def drawn(count: int, *address: object, workers: int = 1) -> RoomSet:
        return render_rooms(count, furniture.path, *address, workers=workers, progress=False)

    return drawn


def same(first: RoomSet, second: RoomSet) -> bool:
    return (
        np.array_equal(first.images, second.images) and np.array_equal(first.masks, second.masks)
        and first.objects == second.objects and first.names == second.names
    )  # fmt: skip


def test_a_room_depends_on_its_address_alone(draw) -> None:
    many = draw(5, "train", 1, 16)
    few = draw(3, "train", 1, 16)
    assert same(few, many.take(range(3)))
    for other in (draw(3, "heldout", 1, 16), draw(3, "train", 2, 16)):
        assert not np.array_equal(few.images, other.images)


def test_rooms_of_a_resolution_stay_within_48_mib() -> None:
    # Bytes of a kept room of the whole package: means of 300, 300 and 60.
    for resolution, size in ((64, 4797), (128, 12_665), (256, 33_149)):
        assert 0.9 * 48 < default_count(resolution) * size / 2**20 < 48
    assert default_count(16) == default_count(64) == 10_000
    assert default_count(10**6) == 1


def test_several_processes_draw_the_same(draw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone = draw(4, "train", 0, 16)
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "another"))
    monkeypatch.setattr(rooms, "_CHUNK", 2)
    monkeypatch.setattr(rooms, "_POOL_FROM", 2)
    assert same(alone, draw(4, "train", 0, 16, workers=2))


def test_shards_are_read_back_grow_and_are_made_again_when_damaged(
    draw, furniture: Furniture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "ROOMS", 3)
    first = draw(4, "labels", 0, 16)
    shards = RoomShards(furniture.digest, "labels", 0, 16)
    assert [len(shards.read(shard)) for shard in range(3)] == [3, 1, 0]
    drawn = []
    monkeypatch.setattr(rooms, "render_room", lambda *args: drawn.append(1) or render_room(*args))
    assert same(draw(4, "labels", 0, 16), first)
    assert not drawn
    assert same(draw(6, "labels", 0, 16).take(range(4)), first)
    assert len(drawn) == 2  # what was missing of the second shard
    shards.path(0).write_bytes(b"damaged")
    assert same(draw(4, "labels", 0, 16), first)
    assert len(drawn) == 5


def test_the_larger_picture_is_the_same_room(draw) -> None:
    small, large = draw(3, "train", 0, 24), draw(3, "train", 0, 48)
    shrunk = large.images.reshape(3, 3, 24, 2, 24, 2).mean(axis=(3, 5))
    assert np.abs(shrunk - small.images).mean() < 6
    for few, many in zip(small.objects, large.objects, strict=True):
        seen = {found for found in many if found.share > 0.01}
        near = [min(abs(a.centroid[0] - b.centroid[0]) for b in few if b.name == a.name) for a in seen]
        assert max(near) < 0.05


def test_nothing_is_within_another_or_outside_the_room(furniture: Furniture) -> None:
    for seed in range(12):
        room = plan_room(furniture, np.random.default_rng(seed))
        width, height, depth = room.size
        solid = [piece for piece in room.pieces if piece.name != "rug"]
        for first, second in combinations(solid, 2):
            apart = (first.box[0] >= second.box[1] - 1e-5) | (second.box[0] >= first.box[1] - 1e-5)
            assert apart.any(), f"{first.name} is within {second.name}"
        for piece in room.pieces:
            low, high = piece.triangles.min(axis=(0, 1)), piece.triangles.max(axis=(0, 1))
            assert (low >= piece.box[0] - 1e-4).all()
            assert (high <= piece.box[1] + 1e-4).all()
            assert (low >= (-width / 2 - 1e-4, -1e-4, -1e-4)).all()
            assert (high <= np.array((width / 2, height, depth)) + 1e-4).all()


def test_windows_and_doors_are_on_walls_and_beds_stand_with_their_head_to_one(furniture: Furniture) -> None:
    for seed in range(12):
        room = plan_room(furniture, np.random.default_rng(seed))
        for piece in room.pieces:
            if piece.name in ("window", "door", "bed", "curtain", "picture"):
                low, high = piece.box
                assert min(low[2], low[0] + room.size[0] / 2, room.size[0] / 2 - high[0]) < 0.05


def test_every_class_occurs_and_each_pixel_s_class_is_that_of_an_object(draw) -> None:
    drawn = draw(40, "train", 3, 32)
    assert (drawn.class_pixels().sum(axis=0) > 0).all()
    for mask, objects in zip(drawn.masks, drawn.objects, strict=True):
        names = {ROOM_CLASSES.names[i] for i in np.unique(mask)}
        assert names <= {"wall", "floor", "ceiling"} | {found.name for found in objects}
        for found in objects:
            left, top, right, bottom = found.box
            assert 0 <= left < right <= 1
            assert 0 <= top < bottom <= 1
            assert left < found.centroid[0] < right
            assert top < found.centroid[1] < bottom
            assert found.share <= (right - left) * (bottom - top) * 1.001  # kept in half precision


def test_pieces_are_told_by_their_boxes_and_cover_what_the_renderer_says(draw) -> None:
    drawn = draw(20, "heldout", 3, 64)
    told = 0
    for mask, instances, objects in zip(drawn.masks, drawn.instances(), drawn.objects, strict=True):
        assert not instances[mask < 3].any()            # wall, floor, ceiling
        for number, piece in enumerate(objects, 1):
            of_it = instances == number
            assert (mask[of_it] == ROOM_CLASSES.names.index(piece.name)).all()
            if of_it.any() and piece.share > 0.02:      # smaller ones are mostly edge
                told += 1
                assert abs(of_it.mean() - piece.share) < 0.15 * piece.share
                rows, columns = np.nonzero(of_it)
                middle = (columns.mean() + 0.5) / 64, (rows.mean() + 0.5) / 64
                np.testing.assert_allclose(middle, piece.centroid, atol=0.02)
    assert told > 30


def test_pieces_of_a_class_are_told_apart_unless_their_boxes_share_a_pixel() -> None:
    lamp = ROOM_CLASSES.names.index("lamp")
    mask = np.zeros((1, 8, 8), np.uint8)
    mask[0, 2:6, 0:2] = mask[0, 2:6, 4:7] = lamp

    def told(*boxes: tuple[float, float, float, float]) -> np.ndarray:
        objects = tuple(RoomObject("lamp", "", box, (0.5, 0.5), 0.1) for box in boxes)
        return RoomSet(np.zeros((1, 3, 8, 8), np.uint8), mask, ("a",), ROOM_CLASSES, None, (objects,)).instances()[0]

    apart = told((0, 0.25, 0.25, 0.75), (0.5, 0.25, 0.875, 0.75))
    assert (apart[2:6, 0:2] == 1).all()
    assert (apart[2:6, 4:7] == 2).all()
    assert not apart[mask[0] == 0].any()
    mixed = told((0, 0.25, 0.25, 0.75), (0.5, 0.25, 0.75, 0.75), (0.625, 0.25, 0.875, 0.75))
    assert set(np.unique(mixed)) == {0, 1}


def test_a_box_is_seen_where_geometry_puts_it() -> None:
    """A square of 1 m at 4 m, under a right angle of view, covers 1/8 of the width."""
    square = np.array([(0, 1, 1), (1, 1, 1), (1, 2, 1), (0, 2, 1)], np.float32)
    triangles = square[[[0, 1, 2], [0, 2, 3]]]
    piece = Piece("picture", "", np.stack([square.min(0), square.max(0)]), triangles,
                  np.full((2, 3), 0.5, np.float32), np.zeros(2, np.float32))  # fmt: skip
    room = Room(
        (8, 4, 6), PAINT, Camera((0, 1, 5), (0, 1, 0), np.pi / 2),
        Lights(0, WHITE, 1, WHITE, 1, 0.3), (piece,), (),
    )  # fmt: skip
    drawn = render_room(room, 32)
    (found,) = drawn.objects
    assert found.box == (0.5, 0.375, 0.625, 0.5)
    assert found.centroid == (0.5625, 0.4375)
    assert found.share == 1 / 64
    expected = np.zeros((32, 32), bool)
    expected[12:16, 16:20] = True
    assert np.array_equal(drawn.mask == ROOM_CLASSES.names.index("picture"), expected)
    floor, ceiling = (ROOM_CLASSES.names.index(name) for name in ("floor", "ceiling"))
    assert (drawn.mask[-1] == floor).all()
    assert (drawn.mask[0] == ceiling).all()


def test_a_warm_lamp_alone_gives_a_warm_picture() -> None:
    room = Room(
        (4, 2.6, 4), PAINT, Camera((0, 1.5, 3.9), (0, 1, 0), 1.2), Lights(0, WHITE, 1, (1.0, 0.5, 0.2), 0.05, 0.3),
        (), (),
    )  # fmt: skip
    red, green, blue = render_room(room, 16).image.astype(int)
    assert (red >= green).all()
    assert (green >= blue).all()
    assert red.mean() > blue.mean() + 20


@pytest.mark.parametrize("wrong", [{"split": "odd"}, {"count": 0}, {"resolution": 0}, {"furniture": None}])
def test_what_cannot_be_drawn_is_said(wrong: dict[str, object], package: Path) -> None:
    with pytest.raises(GanvasError, match=r"rooms|Rooms"):
        render_rooms(**{"count": 2, "furniture": package, **wrong})
