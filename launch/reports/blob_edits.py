"""The report on edits of blobs: figures, which blob is which class, what became of each, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from launch.reports.pictures import heat, overlay, panels
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.classes import ClassList
from networks.grids import save_png, to_uint8
from networks.metrics.blob_edits import Association

if TYPE_CHECKING:
    from launch.blob_trial import BlobOutcome, Seen
    from launch.blob_truth import Verdict
    from launch.figures import Figure

MOVES, REMOVALS = "images/moves.png", "images/removals.png"
EACH, SHOWN = 2, 16      # pictures of a blob, and of all
LARGEST_CHANGE = 0.5     # as in the sheets of `ganvas edit`
TABLED = 0.02            # least share that the table shows
MEANING = {
    "blobs_used": "blobs that cover 1 % of a scene at least once",
    "object_blobs": "of these, whose class is no background", "object_classes": "classes that blobs are",
    "purity": "share of a blob's weight that lies on its class",
    "consistency": "share of the scenes in which a blob is the class that it is over all",
    "move_share": "how far an object goes along with its blob; 1 is all the way",
    "move_error": "how far it ends from where it should, in widths of the image",
    "move_success": "share of moves that end within half of the way", "moves": "moves that are measured",
    "removal_share": "share of the object's class that is gone where the blob was",
    "removal_success": "share of removals that take at least half of it", "removals": "removals that are measured",
    "move_psnr_outside": "PSNR (dB) outside of a move", "removal_psnr_outside": "and of a removal",
    "move_perceptual_outside": "perceptual distance outside of a move",
    "removal_perceptual_outside": "and of a removal",
}  # fmt: skip
TRUE = {  # figures beside the exact masks, by what says them
    "pictures": {"inversion_psnr": "PSNR (dB) of the unedited scenes with the pictures that they stand for"},
    "truth": {
        "truth_object_blobs": "blobs whose class is no background", "truth_object_classes": "classes that blobs are",
        "truth_purity": "share of a blob's weight that lies on its class",
        "truth_consistency": "share of the scenes in which a blob is the class that it is over all",
        "truth_objects": "objects on which a blob stands with a quarter of its weight",
    },
    "judge": {
        "judge_miou": "the judge's mean IoU", "judge_accuracy": "share of pixels that it has right",
        "judge_same_class": "share of blobs and scenes of which it says the same class as the exact masks",
        "judge_sees": "share of the objects of which it sees at least half",
        "judge_missed": "share of these that it does not see all the same: the removal share of no edit",
        "judge_offset": "how far its middle of the moved ones is from the true one: an error of perfect moves, too",
    },
    "real": {
        "real_move_share": "how far an object goes along with its blob; 1 is all the way",
        "real_move_share_judged": "the same from where the judge has its middle before the move, not the exact masks",
        "real_move_error": "how far it ends from where it should, in widths of the image",
        "real_move_success": "share of moves that end within half of the way", "real_moves": "moves that are measured",
        "real_removal_share": "share of the object that the judge does not see after its removal",
        "real_removal_success": "share of removals after which it does not see at least half",
        "real_removals": "removals that are measured",
    },
}  # fmt: skip


def write_report(
    out: Path, command: str, classes: ClassList, association: Association, outcomes: Sequence[BlobOutcome],
    figures: Mapping[str, Figure], verdict: Verdict | None = None,
) -> None:  # fmt: skip
    """Write ``report.md`` and its pictures into a folder; of held-out pictures also what is true (``verdict``).

    Raises:
        GanvasError: if a file cannot be written.
    """
    judged = [name for name in figures if name in MEANING]
    parts = [
        "# Edits of blobs", f"`{command}`", f"On {figures['consistency'].protocol}; perceptual distance "
        f"{figures['move_perceptual_outside'].protocol.network}.",
        _table(figures, judged, MEANING), *([] if verdict is None else _true(classes, figures, verdict)),
        "## Which blob is which class",
        "Per cent of each blob's weight on each class, in the mean over scenes where it is visible, as the judge sees "
        "it; its class, in bold, is the one that stands out most from the share of all pixels (last row).",
        _association(classes, association), "## What became of each blob",
        "In each scene a blob's object is the class that stands out there, if it is no background and a quarter of the "
        "blob lies on it. Removals are measured on these, moves where nearly all of the class is the blob's: a move "
        "that ends within half of the way is a success.",
        _outcomes(classes, association, outcomes),
    ]  # fmt: skip
    for title, path, picture in (
        ("Moves", MOVES, _pictures(classes, outcomes, "move")),
        ("Removals", REMOVALS, _pictures(classes, outcomes, "removal")),
    ):
        if picture is not None:
            save_png(picture, out / path)
            parts += [f"## {title}", f"![{title.lower()}]({path})"]
    with atomic_path(out / "report.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n")


def _table(figures: Mapping[str, Figure], names: Sequence[str], meaning: Mapping[str, str]) -> str:
    rows = [f"| `{name}` | {figures[name].value:.4g} | {meaning[name]} |" for name in names]
    return "\n".join(["| figure | value | what it is |", "|---|---|---|", *rows])


def _true(classes: ClassList, figures: Mapping[str, Figure], verdict: Verdict) -> list[str]:
    """What exact masks say, of the judge too, and what became of real objects."""
    parts = ["## Beside the exact masks", "What was there before an edit is known; after it the judge alone can say."]
    for names in TRUE.values():
        parts += [f"{figures[next(iter(names))].protocol}:", _table(figures, list(names), names)]
    rows = ["| blob | class | consistency | objects | seen | moves | goes along | judged | error | removals | missed | "
            "gone |", "|---" * 12 + "|"]  # fmt: skip
    for o in verdict.outcomes:
        label = classes.names[int(verdict.association.label[o.blob])]
        cells = [o.blob, label, f"{verdict.association.consistency[o.blob]:.2f}", int(o.there.sum()),
                 int(o.sees.sum()), int(o.follows.sum()), *_means(o.followed.share, o.judged.share, o.followed.error),
                 len(o.gone), *_means(o.missed, o.gone)]  # fmt: skip
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    seen = [f"| {name} | {iou:.2f} |" for name, iou in verdict.agreement.compute()["iou"].items() if iou == iou]
    return [
        *parts, "Per cent of each blob's weight on each class, by the exact masks:",
        _association(classes, verdict.association),
        "What became of the objects on which blobs stand: *seen* by the judge before any edit, *missed* then, and "
        "*judged* to go along from where it had them:",
        "\n".join(rows), "The judge's IoU with the exact masks before any edit:",
        "\n".join(["| class | IoU |", "|---|---|", *seen]),
    ]  # fmt: skip


def _means(*parts: torch.Tensor) -> list[str]:
    return [f"{part.mean():.2f}" if len(part) else "-" for part in parts]


def _association(classes: ClassList, found: Association) -> str:
    columns = [c for c in range(len(classes)) if max(found.expected[c], *found.share[found.used, c]) >= TABLED]
    lines = ["| blob | " + " | ".join(classes.names[c] for c in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for blob in found.used:
        cells = [f"{100 * found.share[blob, c]:.0f}" for c in columns]
        cells = [f"**{cell}**" if c == found.label[blob] else cell for c, cell in zip(columns, cells, strict=True)]
        lines.append(f"| {blob} | " + " | ".join(cells) + " |")
    lines.append("| all pixels | " + " | ".join(f"{100 * found.expected[c]:.0f}" for c in columns) + " |")
    return "\n".join(lines)


def _outcomes(classes: ClassList, association: Association, outcomes: Sequence[BlobOutcome]) -> str:
    head = ["blob", "class", "scenes", "consistency", "moves", "goes along", "error", "success", "removals", "gone"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for o in outcomes:
        went = o.followed
        moved = ["-"] * 3
        if went is not None:
            moved = [f"{went.share.mean():.2f}", f"{went.error.mean():.3f}", f"{o.arrived.double().mean():.2f}"]
        gone = f"{o.gone.mean():.2f}" if len(o.gone) else "-"
        cells = [
            o.blob, classes.names[int(association.label[o.blob])], len(o.scenes),
            f"{association.consistency[o.blob]:.2f}", int(o.follows.sum()), *moved, int(o.there.sum()), gone,
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _pictures(classes: ClassList, outcomes: Sequence[BlobOutcome], which: str) -> np.ndarray | None:
    """The first objects of each blob before and after, with the judge's masks and the change; None without any."""
    before, after = [], []
    for o in outcomes:
        pick = (o.follows if which == "move" else o.there).nonzero().flatten()[:EACH]
        before.append(o.before[pick])
        after.append(getattr(o, which).after[pick])
    first, second = _first(before), _first(after)
    if first is None or second is None:
        return None
    change = (second[0] - first[0]).abs().mean(1) / 2
    one, other = to_uint8(first[0]), to_uint8(second[0])
    columns = {
        "before": one, "its mask": overlay(one, first[1].numpy(), classes),
        "after": other, "its mask ": overlay(other, second[1].numpy(), classes),
        "change": heat(change.numpy(), LARGEST_CHANGE),
    }  # fmt: skip
    return np.asarray(panels(columns, across=1 if len(one) < 4 else 2, classes=classes))


def _first(parts: Sequence[Seen]) -> tuple[torch.Tensor, torch.Tensor] | None:
    if not sum(len(part.masks) for part in parts):
        return None
    return torch.cat([p.images for p in parts])[:SHOWN], torch.cat([p.masks for p in parts])[:SHOWN]
