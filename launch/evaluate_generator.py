"""``ganvas evaluate generator=X``: KID of its samples by two feature networks, neither of which trained it."""

from __future__ import annotations

import torch
from omegaconf import DictConfig

from launch.data import reference_images, require_size
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.critics import FEATURES
from networks.metrics.generator_kid import GeneratorKID

IMAGES = 2000  # where n= says nothing


def run(cfg: DictConfig) -> None:
    """Print KID times 1000 with its deviation over subsets for each feature network, and the protocol.

    Raises:
        GanvasError: if the generator or the images cannot be read, do not fit, or are too few.
    """
    if (cfg.n is not None and cfg.n < 2) or cfg.batch < 1:
        raise GanvasError(f"n={cfg.n} must be at least 2, and batch={cfg.batch} at least 1.")
    if cfg.device.startswith("cuda") and not torch.cuda.is_available():
        raise GanvasError(f"device={cfg.device} but torch sees no GPU here: use device=cpu.")
    generator = load_generator(cfg.generator).to(cfg.device)
    reference = reference_images(cfg, cfg.n or IMAGES)
    require_size(reference.images, generator)
    print(f"reference: {reference.what}")
    print(f"samples: {len(reference.images)}, seed {cfg.seed}, truncation {cfg.truncation:g}")
    for name in FEATURES:
        score = GeneratorKID(reference.images, name, cfg.batch)
        mean, deviation = score(generator, cfg.seed, cfg.truncation)
        print(f"{score.name}: {mean:.4g}\n{score.name}_std: {deviation:.4g}")
    print(f"protocol: {score.protocol}")
