"""``ganvas evaluate recipe=blobs``: what moving and removing blobs does to a BlobGAN's scenes, as a judge sees them.

Each blob of each scene in which it is visible is moved, and removed, by itself. A judge says what pixels show before
and after: a branch that was trained on the generator's features, or a feed-forward labeller that knows the image alone.
Of held-out rooms and scenes exact masks say besides what was truly there (``blob_truth``).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig

from editors import SegmentationEditor, load
from editors.blobs import require_layout
from launch import blob_truth
from launch.blob_trial import CRITIC, GONE, SCENES, BlobOutcome, Judge, Seen, Trial, joined
from launch.figures import Figure, Protocol, Source, all_by
from launch.hardware import require_device
from launch.limits import require_at_least
from launch.reports.blob_edits import write_report
from networks.blobgan import BlobGenerator
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.latents import load_latent
from networks.checkpoints.zoo import resolve
from networks.latent import Latent
from networks.rendering import render_batches
from networks.segmentation import segment_latents
from networks.segmenters import label_images, load_segmenter


def measure(cfg: DictConfig) -> dict[str, Figure]:
    """All figures; they are printed, and with ``out=`` a report is written, with tables by blob and pictures.

    Raises:
        GanvasError: if what is given cannot be used, or does not fit together.
    """
    require_device(cfg.device)
    require_at_least(cfg, {"n": 1, "seed": 0, "batch": 1})
    if not 0 < abs(cfg.recipe.move) < 1:
        raise GanvasError(f"recipe.move={cfg.recipe.move} must be a part of the image's width, between 0 and 1.")
    generator, judge = _judge(cfg)
    background = frozenset(judge.classes.id_of(name) for name in cfg.recipe.background)
    latent, source, truth = _scenes(cfg, generator, judge)
    print(f"scenes: {len(latent)} {source}")
    trial = Trial(generator, judge, latent, background, cfg.recipe.move, cfg.batch)
    outcomes = [trial.outcome(blob) for blob in trial.association.used]
    edits, verdict = f"each blob by itself, moved by {trial.move:g}", None
    if truth is None:
        figures = _figures(trial, source, outcomes, edits)
    else:
        verdict = blob_truth.verdict(trial, truth, outcomes)
        figures = _figures(trial, source, outcomes, f"{truth.how}, {edits}, before and after it by the judge")
        figures |= blob_truth.figures(trial, truth, verdict, edits)
    for name, figure in figures.items():
        print(f"{name}: {figure.value:.4g}")
    for name in ("consistency", "truth_consistency", "judge_miou", "real_moves"):
        if name in figures:
            print(f"protocol of {name}: {figures[name].protocol}")
    if cfg.out:
        write_report(Path(cfg.out), cfg.command, judge.classes, trial.association, outcomes, figures, verdict)
        print(f"report: {Path(cfg.out) / 'report.md'}")
    return figures


def _judge(cfg: DictConfig) -> tuple[BlobGenerator, Judge]:
    """The generator whose scenes are edited, and who judges them."""
    if bool(cfg.segmentation) == bool(cfg.segmenter):
        raise GanvasError("edits of blobs are judged by one of segmentation=BUNDLE, a branch of the generator, and "
                          "segmenter=BUNDLE, which sees the image alone.")  # fmt: skip
    if cfg.segmentation:
        editor = load(cfg.segmentation, cfg.generator, cfg.device)
        if not isinstance(editor, SegmentationEditor):
            raise GanvasError(f"{cfg.segmentation} is no segmentation bundle: give it as generator=.")
        generator = _blobgan(editor.generator, cfg.segmentation)
        branch = read_manifest(resolve(cfg.segmentation))["hash"]
        see = partial(_by_branch, editor, cfg.batch)
        return generator, Judge(f"branch {branch[:12]}", editor.classes, see)
    if not cfg.generator:
        raise GanvasError("recipe=blobs needs generator=FILE, the bundle of a BlobGAN.")
    generator = _blobgan(load_generator(cfg.generator).to(cfg.device), cfg.generator)
    network, manifest = load_segmenter(cfg.segmenter)
    if generator.img_resolution % network.multiple:
        raise GanvasError(f"{cfg.segmenter} labels images of multiples of {network.multiple} pixels, and the generator "
                          f"draws {generator.img_resolution}: give another judge.")  # fmt: skip
    classes = ClassList(manifest["classes"]["names"], manifest["classes"]["palette"])

    def by_image(latent: Latent) -> Seen:
        images = torch.cat(list(render_batches(generator, latent, cfg.batch))).clamp(-1, 1)
        return Seen(images, label_images(network, images, cfg.batch))

    return generator, Judge(f"segmenter {manifest['hash'][:12]}", classes, by_image)


def _blobgan(generator: object, path: str) -> BlobGenerator:
    if not isinstance(generator, BlobGenerator):
        raise GanvasError(f"{path} is not of a BlobGAN, and only that has blobs: give one of a BlobGAN.")
    return generator


def _by_branch(editor: SegmentationEditor, batch: int, latent: Latent) -> Seen:
    pieces = list(segment_latents(editor.head, editor.generator, latent, batch))
    return Seen(torch.cat([piece.image for piece in pieces]).clamp(-1, 1),
                torch.cat([piece.prediction.mask for piece in pieces]))  # fmt: skip


def _scenes(cfg: DictConfig, generator: BlobGenerator, judge: Judge) -> tuple[Latent, Source, blob_truth.Truth | None]:
    """What is edited, which scenes these are, and where they are held-out pictures what is truly in them."""
    if (kind := cfg.data.get("kind")) in blob_truth.KINDS:
        latent, truth = blob_truth.heldout(cfg, generator, judge)
        return latent, truth.source, truth
    if kind != "avatars":  # which is the default of all figures of generators
        raise GanvasError(f"data={kind} says not what is where in scenes of blobs: give data=rooms or data=scenes for "
                          "held-out pictures, layout= for scenes of your own, or leave data= out for samples.")
    if cfg.layout is None:
        latent = generator.sample(cfg.n or SCENES, cfg.seed, truncation=cfg.truncation)
        return latent, Source("samples", f"seed {cfg.seed}, truncation {cfg.truncation:g}"), None
    latent, _ = load_latent(cfg.layout)
    require_layout(latent, generator, f"the scenes of layout={cfg.layout}")
    return latent[: cfg.n].to(generator.device), Source(f"scenes of {cfg.layout}"), None


def _figures(trial: Trial, source: Source, outcomes: list[BlobOutcome], how: str) -> dict[str, Figure]:
    """By the judge alone: means over all edits of one kind; NaN where there is nothing to measure."""
    association, used = trial.association, trial.association.used
    objects = {blob: label for blob in used if (label := int(association.label[blob])) not in trial.background}
    moves = [o.followed for o in outcomes if o.followed is not None]
    share, error = joined(m.share for m in moves), joined(m.error for m in moves)
    arrived, gone = joined(o.arrived for o in outcomes), joined(o.gone for o in outcomes)
    protocol = partial(Protocol, *source, len(trial.latent), generator=trial.generator.hash, how=how)
    figures = all_by(protocol(network=trial.judge.name), {
        "blobs_used": len(used), "object_blobs": len(objects), "object_classes": len({*objects.values()}),
        "purity": float(association.purity[used].mean()), "consistency": float(association.consistency[used].mean()),
        "move_share": float(share.mean()), "move_error": float(error.mean()),
        "move_success": float(arrived.double().mean()), "moves": len(share),
        "removal_share": float(gone.mean()), "removal_success": float((gone >= GONE).double().mean()),
        "removals": len(gone),
    })  # fmt: skip
    for name, changes in {"move": [o.move for o in outcomes], "removal": [o.removal for o in outcomes]}.items():
        for part, network in {"psnr": None, "perceptual": CRITIC}.items():
            mean = joined(getattr(change, part) for change in changes).mean()
            figures[f"{name}_{part}_outside"] = Figure(float(mean), protocol(network=network))
    return figures
