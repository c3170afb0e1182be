"""What a bundle's manifest says, in words: the rows of its card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from networks.checkpoints.bundle import Manifest, owner_of

PEOPLE = {  # name in a manifest -> what people call it, unit, factor
    r"miou|mIoU": ("mIoU", " %", 100), r"pixel_accuracy": ("pixel accuracy", " %", 100),
    r"ece": ("expected calibration error", "", 1),
    r"aurc": ("area under the risk-coverage curve", "", 1),
    r"kid_intra_(.+)_x1000": ("KID x 1000 within classes ({})", "", 1),
    r"kid_(.+)_x1000": ("KID x 1000 ({})", "", 1), r"fid_(.+)": ("FID ({})", "", 1),
    r"precision_(.+)": ("precision ({})", " %", 100), r"recall_(.+)": ("recall ({})", " %", 100),
    r"accuracy": ("accuracy, mean over the attributes", " %", 100),
    r"balanced": ("accuracy balanced over the values of an attribute", " %", 100),
    r"majority": ("accuracy of always saying the commonest value", " %", 100),
    r"text_r1": ("images whose own description is the nearest", " %", 100),
    r"text_r5": ("images whose own description is among the five nearest", " %", 100),
    r"image_r1": ("descriptions whose own image is the nearest", " %", 100),
    r"image_r5": ("descriptions whose own image is among the five nearest", " %", 100),
    r"unseen_words": ("chance that a text of words never trained on is nearer to what it fits", " %", 100),
    r"rank1": ("persons whose nearest other picture is their own", " %", 100),
    r"auc": ("chance that a pair of one person is nearer than one of two", " %", 100),
    r"same": ("mean cosine of one person", "", 1), r"different": ("mean cosine of two persons", "", 1),
    r"psnr": ("PSNR of the codes as they come", " dB", 1), r"psnr_(\d+)": ("PSNR after {} steps", " dB", 1),
    r"perceptual": ("perceptual distance of the codes as they come", "", 1),
    r"success": ("images that show it after the edit", " %", 100),
    r"success_before": ("images that show it before, by the same judge", " %", 100),
    r"leakage": ("change of verdicts on all that it is not to change, mean", " %", 100),
    r"agreement": ("Spearman correlation with channels measured one at a time, mean over eight texts", "", 1),
    r"agreement_least": ("the least of these correlations", "", 1),
    r"outside": ("mean change outside the edited region, of values in [0, 1]", "", 1),
    r"identity": ("cosine of the person after the edit", "", 1),
    r"identity_before": ("cosine of the person after inversion alone", "", 1),
    r"perceptual_(\d+)": ("perceptual distance after {} steps", "", 1),
}  # fmt: skip
ELSEWHERE = {"miou_datasetgan", "mIoU_datasetgan_rule", "n"}  # another count of the same, and what the protocol says


def facts(manifest: Manifest, path: Path, owners: Mapping[str, str]) -> dict[str, str]:
    """Rows of a card by name.

    Args:
        manifest: of the bundle.
        path: of the bundle.
        owners: hash -> file name of the bundles beside it.
    """
    rows = {
        "kind": manifest["kind"],
        "resolution": _resolution(manifest),
        "belongs to": _owner(manifest, owners),
        "trained on": _data(manifest),
        "seed": _text(_training(manifest).get("seed")),
        "images seen": _count(_seen(manifest)),
        "command": f"`{manifest['command']}`" if manifest.get("command") else None,
        **metrics(manifest),
        "protocol": protocol(manifest),
        "recommended strengths": _recommended(manifest),
        "success / worst leakage in per cent at strengths": _by_strength(manifest),
        "classes": _classes(manifest),
        "attributes": _attributes(manifest),
        "text tower": _text_tower(manifest),
        "licence": manifest.get("licence"),
        "sha256 of the weights": f"`{manifest['hash']}`",
    }
    return {name: value for name, value in rows.items() if isinstance(value, str)}


def metrics(manifest: Manifest) -> dict[str, str]:
    """Figures with a name for people, and their deviation where there is one; the headline figure first.

    Example:
        >>> metrics({"metrics": {"kid_stlpips_alex_x1000": 1.381, "kid_stlpips_alex_x1000_std": 0.11, "protocol": "?"}})
        {'KID x 1000 (stlpips-alex)': '1.38 ± 0.11'}
        >>> metrics({"metrics": {"miou": 0.9393, "iou": {"skin": 0.9}, "psnr_60": 29.31}})
        {'mIoU': '93.9 %', 'PSNR after 60 steps': '29.3 dB'}
    """
    rows, found = {}, manifest.get("metrics") or {}
    for name, value in found.items():
        if not isinstance(value, (int, float)) or name.endswith("_std") or name in ELSEWHERE:
            continue
        label, unit, factor = _for_people(name)
        deviation = found.get(f"{name}_std")
        spread = f" ± {factor * deviation:.2g}" if isinstance(deviation, (int, float)) else ""
        rows[label] = f"{_digits(factor * value)}{spread}{unit}"
    return rows


def _for_people(name: str) -> tuple[str, str, float]:
    for pattern, (label, unit, factor) in PEOPLE.items():
        if found := re.fullmatch(pattern, name):
            return label.format(*(group.replace("_", "-") for group in found.groups())), unit, factor
    return name.replace("_", " "), "", 1


def _digits(value: float) -> str:
    """Three digits, two below one.

    Example:
        >>> _digits(658.14), _digits(29.31), _digits(0.1134), _digits(0.00129)
        ('658', '29.3', '0.11', '0.0013')
    """
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 1 else f"{value:.2g}"


def _training(manifest: Manifest) -> Mapping[str, Any]:
    return {**(manifest.get("data") or {}), **(manifest.get("trained_on") or {})}


def _data(manifest: Manifest) -> str | None:
    if labels := (manifest.get("trained_on") or {}).get("labels"):  # a branch
        return f"{labels} labelled images, {manifest['trained_on'].get('codes', 'inverted')}"
    if count := (manifest.get("trained_on") or {}).get("count"):  # a mapper
        return f"{_count(count)} {manifest['trained_on']['codes']}"
    data = _training(manifest)
    what = data.get("data") or data.get("style") or data.get("kind")
    if not what:
        return None
    images = f"{_count(data['images'])} images, " if data.get("images") else ""
    resolution = f", {data['resolution']}x{data['resolution']}" if data.get("resolution") else ""
    return f"{images}{what}{resolution}"


def _seen(manifest: Manifest) -> int | None:
    trained = manifest.get("trained_on") or {}
    seen = manifest.get("images_seen") or trained.get("images_seen")
    return seen or (trained.get("images", 0) * trained.get("epochs", 0)) or None


def _resolution(manifest: Manifest) -> str | None:
    config = manifest.get("config") or {}
    arguments = config.get("arguments") or {}
    size = config.get("img_resolution") or arguments.get("img_resolution") or _training(manifest).get("resolution")
    return f"{size}x{size}" if size else None


def _owner(manifest: Manifest, owners: Mapping[str, str]) -> str | None:
    wanted = owner_of(manifest)
    return None if wanted is None else f"`{owners[wanted]}`" if wanted in owners else f"a generator {wanted[:12]}…"


def protocol(manifest: Manifest) -> str | None:
    """Of the figures: one for all, or one for each set of images that a branch was scored on."""
    said = (manifest.get("metrics") or {}).get("protocol") or manifest.get("protocol")
    return "; ".join(f"{name}: {text}" for name, text in said.items()) if isinstance(said, Mapping) else said


def _recommended(manifest: Manifest) -> str | None:
    strengths = manifest.get("recommended_strengths")
    if not strengths:
        return None
    by = f", by {manifest['recommended_by']}" if "recommended_by" in manifest else ""
    return "{:g} to {:g}".format(*strengths) + by


def _by_strength(manifest: Manifest) -> str | None:
    """Of a mapper that was chosen among its checkpoints by a judge."""
    found = ((manifest.get("chosen") or {}).get("by_strength") or {}).items()
    return "; ".join(f"{strength}: {100 * at['success']:.0f} / {100 * at['leakage_worst']:.0f}"
                     for strength, at in found) or None  # fmt: skip


def _classes(manifest: Manifest) -> str | None:
    """The class names, each with its IoU in percent where that was measured."""
    names = (manifest.get("classes") or {}).get("names")
    scores = (manifest.get("metrics") or {}).get("iou") or {}
    if not names:
        return None
    return ", ".join(f"{name} {100 * scores[name]:.1f}" if scores.get(name) else name for name in names)


def _attributes(manifest: Manifest) -> str | None:
    """The attributes, each with its accuracy and what always saying its commonest value would give, in percent."""
    scores = (manifest.get("metrics") or {}).get("by_attribute") or {}
    said = [f"{name} {100 * s['accuracy']:.1f} ({100 * s['majority']:.0f})" for name, s in scores.items()]
    return ", ".join(said) or None


def _text_tower(manifest: Manifest) -> str | None:
    tower = manifest.get("text_tower")
    return f"of the package {tower['package']}, weights `{tower['hash'][:12]}…`, not in the file" if tower else None


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}".replace(",", " ")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
