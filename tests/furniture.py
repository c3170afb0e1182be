"""A few boxes in the form of Debian's furniture package, so that tests of rooms need no download."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.furniture import CATALOGUE

SIZES = {  # catalogue id -> width, height, depth and elevation in centimetres
    "Scopia#window_2x4": (110, 120, 20, 90), "Scopia#door": (90, 205, 15, 0), "Scopia#curtain": (130, 225, 5, 8),
    "Scopia#round-carpet": (80, 1, 80, 0), "Scopia#bed1": (140, 90, 200, 0),
    "Blend Swap CC-BY#bedsideTable": (45, 50, 40, 0), "Blend Swap CC-BY#wardrobe": (92, 200, 60, 0),
    "Blend Swap CC-0#shelves": (80, 80, 35, 0), "Blend Swap CC-BY#simpleDesk": (120, 72, 60, 0),
    "Blend Swap CC-0#chair2": (42, 85, 45, 0), "Blend Swap CC-BY#sofa2": (160, 78, 80, 0),
    "Scopia#table_lamp": (20, 45, 20, 0), "Scopia#living_lamp": (40, 143, 40, 0),
    "Blend Swap CC-BY#hangingLight": (44, 60, 44, 164), "Scopia#ficus": (42, 82, 42, 0),
}  # fmt: skip
MATERIALS = "newmtl cloth\nKd 0.8 0.2 0.2\nnewmtl clear glass\nKd 0.1 0.2 0.9\nnewmtl printed\nmap_Kd print.png\n"


def write_furniture(folder: Path, without: str = "") -> Path:
    """A folder like the unpacked package, with one library; ``without`` leaves one model out."""
    libraries = folder / "usr" / "share" / "sweethome3d" / "furniture"
    libraries.mkdir(parents=True)
    with zipfile.ZipFile(libraries / "Small.sh3f", "w") as archive:
        lines = ["# a comment", "id=Small", "name=Small"]
        for number, (key, size) in enumerate(SIZES.items(), 1):
            if key == without:
                continue
            path = f"small/m{number}/m{number}.obj"
            said = {"id": key, "name": "Caf\\u00e9", "model": f"/{path}", "elevation": size[3], "width": size[0],
                    "height": size[1], "depth": size[2]}  # fmt: skip
            lines += [f"{name}#{number}={value}" for name, value in said.items()]
            archive.writestr(_stamped(path), obj(key))
            archive.writestr(_stamped(f"small/m{number}/m.mtl"), MATERIALS)
            archive.writestr(_stamped(f"small/m{number}/print.png"), _print())
        archive.writestr(_stamped(CATALOGUE), "\n".join(lines).encode("latin1"))
    return folder


def write_deb(folder: Path, path: Path) -> Path:
    """A ``.deb`` with the content of a folder."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        tar.add(folder, ".")
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
        for name, content in members.items():
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content)
            file.write(b"\n" * (len(content) % 2))
    return path


def obj(key: str) -> str:
    """A model: a box; a bed with a printed cover, a window with glass, a plant as a ball of many triangles."""
    lines = ["mtllib m.mtl", "vt 0 0", "vt 1 0", "vt 1 1"]
    if key == "Scopia#ficus":
        return "\n".join([*lines, *_ball(48)])
    lines += [f"v {x} {y} {z}" for x in (-1, 1) for y in (0, 1) for z in (-1, 1)]
    faces = [(1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4)]
    other = {"Scopia#bed1": "printed", "Scopia#window_2x4": "clear glass"}.get(key, "cloth")
    for material, some in (("cloth", faces[:3]), (other, faces[3:])):
        lines += [f"usemtl {material}", *(f"f {a}/1 {b}/2 {c}/3 {d}/1" for a, b, c, d in some)]
    return "\n".join(lines)


def _ball(steps: int) -> list[str]:
    around, down = np.meshgrid(np.linspace(0, 2 * np.pi, steps), np.linspace(0.05, np.pi - 0.05, steps))
    points = np.stack([np.sin(down) * np.cos(around), np.cos(down), np.sin(down) * np.sin(around)], axis=-1)
    lines = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in points.reshape(-1, 3)]
    corners = [row * steps + column + 1 for row in range(steps - 1) for column in range(steps - 1)]
    return [*lines, "usemtl cloth", *(f"f {i} {i + 1} {i + steps + 1} {i + steps}" for i in corners)]


def _stamped(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name)  # with the earliest date there is, so that the same files give the same bytes


def _print() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (10, 200, 30)).save(file, "PNG")
    return file.getvalue()
