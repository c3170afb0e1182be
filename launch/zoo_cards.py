"""The zoo's pages from what its bundles say of themselves: ``make zoo-cards``, or ``python -m launch.zoo_cards``.

A card ``zoo/<name>.md`` holds a table that is written here from the bundle's manifest, between two marks, and by hand
what no manifest knows: hardware, history, faults. ``zoo/README.md`` lists them all. No fact is written down twice.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from launch.zoo_facts import facts, metrics, protocol
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.bundle import Manifest, read_manifest
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.zoo import zoo_folders
from networks.grids import tile, to_uint8

BEGIN, END = "<!-- from the bundle, by 'make zoo-cards' -->", "<!-- until here -->"
BY_HAND = ("hardware", "known faults")  # what a card must say by itself
SHOWN = 64                              # samples in a picture

Facts = Mapping[str, str]

HEAD = """# The zoo

Bundles that ship with Ganvas. `zoo/NAME.safetensors` is found from any folder, and each file's card says more.

"""

FOOT = f"""

A figure without its protocol is not a figure: each card has it, and what is known to be wrong with the model.

## To add one

Put the bundle here and write `<name>.md` beside it:

```markdown
# <name>

A sentence that says what it is. Then more.

{BEGIN}
{END}

| | |
|---|---|
| hardware | what it was trained on, and for how long |

## Known faults

What it cannot do.
```

`make zoo-cards` fills in what the bundle says, and this page; `python -m launch.zoo_cards --pictures` also draws
samples of the generators. For a bundle without metrics, the card's own row `headline` is shown here.
"""


def pages(zoo: Path) -> dict[Path, str]:
    """What the cards and ``README.md`` of a zoo should hold.

    Raises:
        GanvasError: if a bundle has no card, or a card lacks what only a person knows.
    """
    bundles = {path: read_manifest(path) for path in sorted(zoo.glob("*.safetensors"))}
    owners = {manifest["hash"]: path.name for path, manifest in bundles.items()}
    written, rows = dict[Path, str](), []
    for path, manifest in bundles.items():
        card, found = path.with_suffix(".md"), facts(manifest, path, owners)
        text = _read(card)
        written[card] = _filled(card, text, found)
        rows.append(_row(path, text, manifest, found))
    return {**written, zoo / "README.md": HEAD + _table(list(rows[0]), [list(row.values()) for row in rows]) + FOOT}


def draw_samples(path: Path) -> Path:
    """A grid of samples (seed 0, truncation 1) as a JPEG beside the generator's bundle."""
    generator = load_generator(path)
    images = to_uint8(generator.render(generator.sample(SHOWN, seed=0)))
    with atomic_path(path.with_suffix(".jpg")) as temporary:
        # No chroma subsampling: at these sizes it is the first thing one sees.
        Image.fromarray(tile(images)).save(temporary, format="JPEG", quality=93, subsampling=0, optimize=True)
    return path.with_suffix(".jpg")


def _read(card: Path) -> str:
    """A card's text, if a person has written their part.

    Raises:
        GanvasError: if not.
    """
    if not card.exists():
        raise GanvasError(f"{card.with_suffix('.safetensors')} has no card: write {card} as zoo/README.md describes.")
    text = card.read_text()
    if not re.search(rf"{re.escape(BEGIN)}\n.*?{re.escape(END)}", text, re.DOTALL):
        raise GanvasError(f"{card} has no place for what its bundle says: add the lines {BEGIN} and {END}.")
    missing = [what for what in BY_HAND if not _by_hand(text, what)]
    if missing:
        raise GanvasError(f"{card} says nothing of its {missing[0]}: add a table row or a section of that name.")
    return text


def _by_hand(text: str, what: str) -> str:
    """A table row's value, or the first line below a heading."""
    found = re.search(rf"^(?:\| *{what} *\| *(.+?) *\|$|## *{what}\n+(.+?)$)", text, re.MULTILINE | re.IGNORECASE)
    return (found[1] or found[2]) if found else ""


def _filled(card: Path, text: str, found: Facts) -> str:
    rows = [[name, value] for name, value in {"file": _size(card.with_suffix(".safetensors")), **found}.items()]
    picture = _picture(card)
    shown = f"\n\n![{SHOWN} samples, seed 0, truncation 1]({picture})" if picture else ""
    block = f"{BEGIN}\n{_table(['', ''], rows)}{shown}\n{END}"
    return re.sub(rf"{re.escape(BEGIN)}\n.*?{re.escape(END)}", lambda _: block, text, flags=re.DOTALL)


def _row(path: Path, text: str, manifest: Manifest, found: Facts) -> dict[str, str]:
    """One line of the table of all bundles."""
    first = re.search(r"^# .+?\n+(.+?\.)(?:\s|$)", text, re.DOTALL)
    if first is None:
        raise GanvasError(f"{path.with_suffix('.md')} must begin with a title and a sentence that says what it is.")
    picture = _picture(path)
    return {
        "file": f"`{path.name}`, {_bytes(path)}",
        "what it is": " ".join(first[1].split()),
        "resolution": found.get("resolution", "-"),
        "belongs to": found.get("belongs to", "-"),
        "trained on": found.get("trained on", "-"),
        "images seen": found.get("images seen", "-"),
        "hardware": _by_hand(text, "hardware"),
        "command": found.get("command", "-"),
        "headline": _headline(text, manifest),
        "licence": found.get("licence", "-"),
        "more": f"[card]({path.stem}.md)" + (f", [samples]({picture})" if picture else ""),
    }


def _headline(text: str, manifest: Manifest) -> str:
    """The first of the bundle's metrics with its protocol; where it has none, the card's own row ``headline``."""
    for name, value in metrics(manifest).items():
        said = protocol(manifest)
        return f"{name}: {value}" + (f" ({said})" if said else "")
    return _by_hand(text, "headline") or "-"


def _picture(path: Path) -> str | None:
    picture = path.with_suffix(".jpg")
    return picture.name if picture.exists() else None


def _size(path: Path) -> str:
    return f"`{path.name}`, {_bytes(path)}"


def _bytes(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    written = ["|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|" for line in lines]
    return "\n".join([written[0], "|" + "---|" * len(header), *written[1:]])


def main(argv: Sequence[str] | None = None) -> None:
    """Write the pages, and say which changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", action="store_true", help="draw the samples of generators, too")
    arguments = parser.parse_args(argv)
    zoo = zoo_folders()[0]
    if arguments.pictures:
        for path in sorted(zoo.glob("*.safetensors")):
            if read_manifest(path)["kind"] in ("stylegan2", "blobgan", "sngan"):
                print(f"drawn: {draw_samples(path).name}")
    for path, text in pages(zoo).items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"written: {path.name}")


if __name__ == "__main__":
    main()
