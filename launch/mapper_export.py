"""What a run of mappers leaves: a bundle for each text, or one that takes texts; headline figures; the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from launch.figures import Figure, Protocol, all_by
from launch.mapper_judges import file_name, templates_of
from launch.mapper_scores import Recommended, Scores
from launch.mapper_sources import Codes
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.conditioned import save_conditioned
from networks.checkpoints.edits import save_edit
from networks.checkpoints.zoo import resolve
from networks.latent_edit import LatentEdit
from trainers.mapper import Judges, MapperTrainer

CONDITIONED = "conditioned.safetensors"  # in export/
HEADLINES = ("clip", "directional", "identity", "perceptual", "outside")


Chosen = Mapping[str, Mapping[str, Any]]   # by text: which of its checkpoints it is, and what judges said of it


@dataclass(frozen=True)
class Result:
    """What training gave, by text."""

    edits: dict[str, LatentEdit]
    scores: dict[str, Scores]
    recommended: dict[str, Recommended]
    diversity: float | None   # of two texts or more


def export(
    cfg: DictConfig, folder: Path, module: MapperTrainer, judges: Judges, codes: Codes, result: Result,
    chosen: Chosen,
) -> None:  # fmt: skip
    """Write the bundles.

    Raises:
        GanvasError: if one cannot be written.
    """
    about = _described(cfg, module, judges, codes)
    if cfg.task.conditioned:
        metrics = {text: _metrics(scores) for text, scores in result.scores.items()}
        (mapper,) = module.mappers
        save_conditioned(
            folder / CONDITIONED, mapper, judges.generator.hash, judges.mix.identities[0], cfg.task.clip.neutral,
            templates_of(cfg), {**about, "texts": list(judges.wish.texts), "metrics": metrics,
                                "diversity": result.diversity, "chosen": chosen},
        )  # fmt: skip
        return
    contrasts = judges.wish.contrasts
    for k, (text, edit) in enumerate(result.edits.items()):
        strengths, by = result.recommended[text]
        save_edit(folder / f"{file_name(text)}.safetensors", edit, {
            **about, "text": text, "metrics": _metrics(result.scores[text]),
            **({"recommended_strengths": list(strengths)} if strengths else {}), "recommended_by": by,
            **({"chosen": chosen[text]} if text in chosen else {}),
            **({"speaks_of": contrasts.groups_of(k)} if contrasts else {}),
        })  # fmt: skip


def headline(codes: Codes, judges: Judges, result: Result) -> dict[str, Figure]:
    """Means over the texts at strength 1, each text's own, and how far the steps of several texts differ."""
    protocol = protocol_of(codes, judges)
    names = [name for name in HEADLINES if name in next(iter(result.scores.values())).whole]
    mean = {
        name: sum(scores.whole[name] for scores in result.scores.values()) / len(result.scores) for name in names
    }
    found = all_by(protocol, mean)
    if len(result.scores) > 1:
        found |= all_by(protocol, {
            f"{name} {text}": scores.whole[name] for text, scores in result.scores.items() for name in names
        } | {"diversity": result.diversity})  # fmt: skip
    return found


def protocol_of(codes: Codes, judges: Judges) -> Protocol:
    """That of figures at strength 1 on held-out codes."""
    network = " + ".join(str(identity) for identity in judges.mix.identities)
    return codes.protocol(network, judges.generator.hash, "at strength 1, by the networks that it was trained with")


def report(
    cfg: DictConfig, codes: Codes, judges: Judges, result: Result, picture: Path, chosen: Chosen
) -> str:  # fmt: skip
    """The run's ``report.md``."""
    names = [name for name in HEADLINES if name in next(iter(result.scores.values())).whole]
    rows = []
    for text, scores in result.scores.items():
        figures = " | ".join(f"{scores.whole[name]:.3f}" for name in names)
        rows.append(f"| {text} | {scores.before:.3f} | {figures} | {result.recommended[text]} |")
    differ = [] if result.diversity is None else [f"Steps of two texts differ by {result.diversity:.3f} in the mean "
                                                  "(1 - cosine).", ""]  # fmt: skip
    spoken = []
    if contrasts := judges.wish.contrasts:
        said = (f"{text}: {', '.join(contrasts.groups_of(k))}" for k, text in enumerate(judges.wish.texts))
        spoken = [f"What texts speak of, where statements of other groups are to stay true: {'; '.join(said)}.", ""]
    return "\n".join([
        f"# {cfg.experiment or 'mapper'}", "", f"`{cfg.command}`", "",
        f"Figures: {protocol_of(codes, judges)}. `clip` is the cosine between image and text, `directional` that "
        "between their changes; the others are distances from the source.", "",
        f"| text | clip before | {' | '.join(names)} | strengths |",
        "|---|---|" + "---|" * (len(names) + 1), *rows, "", *_judged(result, chosen), *spoken, *differ,
        f"![held-out codes]({picture})", "",
    ])  # fmt: skip


def _judged(result: Result, chosen: Chosen) -> list[str]:
    """By what strengths are recommended, and success and worst leakage at each strength where there was a judge."""
    texts: dict[str, list[str]] = {}
    for text, recommended in result.recommended.items():
        texts.setdefault(recommended.by, []).append(text)
    lines = ["Strengths are recommended", "", *(f"- of {', '.join(of)}: by {by}." for by, of in texts.items()), ""]
    if not chosen:
        return lines
    strengths = list(next(iter(chosen.values()))["by_strength"])
    rows = [
        f"| {text} | " + " | ".join(f"{100 * at['success']:.0f} / {100 * at['leakage_worst']:.0f}"
                                    for at in entry["by_strength"].values()) + " |"
        for text, entry in chosen.items()
    ]  # fmt: skip
    return [*lines, "Success / worst leakage in per cent, by strength, as the judge has it:", "",
            f"| text | {' | '.join(strengths)} |", "|---|" + "---|" * len(strengths), *rows, ""]  # fmt: skip


def _metrics(scores: Scores) -> dict[str, Any]:
    return {"clip_before": scores.before, **scores.whole,
            "by_strength": {f"{strength:g}": found for strength, found in scores.by_strength.items()}}  # fmt: skip


def _described(cfg: DictConfig, module: MapperTrainer, judges: Judges, codes: Codes) -> dict[str, Any]:
    """What every bundle of the run says of itself."""
    manifest = read_manifest(resolve(cfg.generator)) if str(cfg.generator).endswith(".safetensors") else {}
    return {
        "neutral": cfg.task.clip.neutral,
        "templates": list(templates_of(cfg)),
        "clips": [identity.to_json() for identity in judges.mix.identities],
        "clip_weights": list(judges.mix.weights),
        "step_scale": module.mappers[0].recipe.step_scale,
        "protocol": str(protocol_of(codes, judges)),
        "trained_on": {"codes": str(codes.training), "count": len(codes.split.train), "seed": cfg.seed,
                       "images_seen": module.images_seen,
                       "preserve": OmegaConf.to_container(cfg.task.preserve)},
        "command": cfg.command,
        "licence": f"that of the generator: {manifest.get('licence', 'unknown')}",
    }  # fmt: skip
