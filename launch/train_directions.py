"""``task=directions``: what each channel of a generator's style space does, as a bundle of kind ``relevance``.

Nothing is fitted; it is measured, in parts that are kept, so that the same command with the same ``out=`` goes on.
"""

from __future__ import annotations

import time

import torch
from omegaconf import DictConfig

from editors.text_directions import RelevanceSettings, channel_directions, measure_relevance
from launch.figures import Figure, Protocol, all_by
from launch.hardware import device_of
from launch.limits import require_at_least, require_finite
from launch.options import arguments
from launch.record import RunRecord
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.relevance import save_relevance
from networks.clip import ClipModel, load_clip
from networks.metrics.ranks import rank_correlation
from networks.protocol import Generator
from networks.relevance import Relevance, text_direction

PARTS = "parts"                     # folder of finished parts, in the run's checkpoints
BUNDLE = "directions.safetensors"   # in the run's export


def train(cfg: DictConfig, record: RunRecord) -> dict[str, Figure]:
    """Measure, compare with the exhaustive way, export.

    Returns:
        ``channels``, ``moving``: how many there are, and how many change images; ``agreement``: Spearman's correlation
        of the channels' relevance with that of the exhaustive way, the mean over the texts; ``agreement_least``.

    Raises:
        GanvasError: if the generator has no style space, or an option makes no sense.
    """
    if not cfg.generator:
        raise GanvasError("task=directions needs generator=FILE, whose channels are measured.")
    require_at_least(cfg, {"task.check": 0})
    require_finite(cfg, "task.relevance.truncation")
    settings = RelevanceSettings(**arguments(cfg.task.relevance), seed=cfg.seed)
    device = device_of(cfg.trainer)
    generator = load_generator(cfg.generator).to(device)
    clip = load_clip(cfg.task.clip).to(device)
    texts = [text_direction(clip, text, cfg.task.neutral) for text in cfg.task.texts]
    begun = time.monotonic()
    relevance = measure_relevance(generator, clip, settings, record.checkpoints / PARTS, progress=True)
    seconds = time.monotonic() - begun
    moving = sum(int(direction.any(1).sum()) for direction in relevance.direction.values())
    protocol = Protocol(
        "samples of the generator", f"seed {settings.seed}, psi {settings.truncation:g}", settings.images,
        str(clip.identity), generator.hash, f"{settings.how}, {settings.step:g} deviations",
    )  # fmt: skip
    figures = all_by(protocol, {"channels": float(relevance.channels), "moving": float(moving)})
    if settings.how == "gradient" and cfg.task.check and texts:
        figures |= all_by(protocol, agreement(generator, clip, settings, relevance, texts, cfg.task.check))
    entries = {
        "metrics": {name: figure.value for name, figure in figures.items()} | {
            "protocol": str(protocol), "seconds": seconds
        },
        "command": cfg.command, "licence": "that of its generator and of its CLIP",
    }  # fmt: skip
    save_relevance(record.export / BUNDLE, relevance, entries)
    record.write_report(report(cfg, figures, relevance, texts, seconds))
    return figures


def agreement(
    generator: Generator, clip: ClipModel, settings: RelevanceSettings, relevance: Relevance,
    texts: list[torch.Tensor], count: int,
) -> dict[str, float]:  # fmt: skip
    """How alike two ways rank ``count`` channels, which are drawn at random: over the texts, the mean and the least."""
    numbered = [(path, i) for path, direction in relevance.direction.items() for i in range(len(direction))]
    order = torch.randperm(len(numbered), generator=torch.Generator().manual_seed(settings.seed)).tolist()
    chosen = [numbered[i] for i in sorted(order[:count])]
    if len(chosen) < 2:
        return {}
    exact = channel_directions(generator, clip, settings, chosen, progress=True)
    ours = torch.stack([relevance.direction[path][i] for path, i in chosen])
    each = [rank_correlation(ours @ text.cpu(), exact @ text.cpu()) for text in texts]
    return {"agreement": sum(each) / len(each), "agreement_least": min(each)}


def report(
    cfg: DictConfig, figures: dict[str, Figure], relevance: Relevance, texts: list[torch.Tensor], seconds: float
) -> str:  # fmt: skip
    """The run's ``report.md``: the figures, and how relevant the most relevant channels of each text are."""
    rows = []
    for text, direction in zip(cfg.task.texts, texts, strict=True):
        scores = relevance.scores(direction)
        flat = torch.cat([score.abs() for score in scores.values()]).sort(descending=True).values
        path, at = max(((path, int(s.abs().argmax())) for path, s in scores.items()),
                       key=lambda where: float(scores[where[0]][where[1]].abs()))  # fmt: skip
        tenth, fiftieth = (float(flat[min(i, len(flat)) - 1]) for i in (10, 50))
        rows.append(f"| {text} | {path} {at} | {float(flat[0]):.3f} | {tenth:.3f} | {fiftieth:.3f} |")
    return "\n".join([
        f"# {cfg.experiment or 'directions'}", "", f"`{cfg.command}`", "",
        f"{next(iter(figures.values())).protocol}; {seconds:.0f} s in this run.", "",
        "| figure | value |", "|---|---|", *(f"| {name} | {f.value:.4g} |" for name, f in figures.items()), "",
        "`agreement`: Spearman's correlation with channels measured one at a time, the mean over the texts.", "",
        "| text | most relevant channel | its relevance | of the 10th | of the 50th |", "|---|---|---|---|---|",
        *rows, "",
    ])  # fmt: skip
