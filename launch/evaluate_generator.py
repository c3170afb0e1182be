"""``ganvas evaluate generator=X``: KID, FID, precision and recall of its samples, by each feature network asked for."""

from __future__ import annotations

from omegaconf import DictConfig

from launch.data import reference_images, require_size
from launch.figures import Figure, all_by
from launch.hardware import require_device
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.critics import PACKAGED_FEATURES
from networks.metrics.generator_metrics import GeneratorMetrics

IMAGES = 2000  # where n= says nothing


def measure(cfg: DictConfig) -> dict[str, Figure]:
    """Every figure by every feature network, KID with its deviation over subsets; all printed, with the protocol.

    Raises:
        GanvasError: if the generator or the images cannot be read, do not fit, or are too few.
    """
    if (cfg.n is not None and cfg.n < 2) or cfg.batch < 1:
        raise GanvasError(f"n={cfg.n} must be at least 2, and batch={cfg.batch} at least 1.")
    require_device(cfg.device)
    own = [name for name in cfg.metrics_features if name not in PACKAGED_FEATURES]
    if cfg.metrics_weights is not None and len(own) != 1:
        raise GanvasError(f"metrics_weights={cfg.metrics_weights} is for one of inception and inception-torchvision: "
                          "name one of them in metrics_features.")  # fmt: skip
    if not cfg.metrics_features:
        raise GanvasError("metrics_features=[] measures nothing: name at least one feature network.")
    generator = load_generator(cfg.generator).to(cfg.device)
    reference = reference_images(cfg, cfg.n or IMAGES)
    require_size(reference.images, generator)
    if reference.labels is not None and reference.labels.shape[1] != generator.c_dim:
        raise GanvasError(f"the labels of {cfg.images} are of width {reference.labels.shape[1]} and the generator's of "
                          f"{generator.c_dim}: leave data.labels out, or give another generator.")  # fmt: skip
    print(f"reference: {reference.what}")
    print(f"samples: {len(reference.images)}, seed {cfg.seed}, truncation {cfg.truncation:g}")
    # All first: a network that is missing is said before minutes of rendering.
    scores = [
        GeneratorMetrics(
            reference.images,
            name,
            batch=cfg.batch,
            weights=cfg.metrics_weights if name in own else None,
            allow_download=cfg.allow_download,
            labels=reference.labels,
        )
        for name in cfg.metrics_features
    ]
    figures: dict[str, Figure] = {}
    drawn = f"samples with seed {cfg.seed} and truncation {cfg.truncation:g}"
    for name, score in zip(cfg.metrics_features, scores, strict=True):
        found = score(generator, cfg.seed, cfg.truncation)
        for figure, value in found.items():
            print(f"{figure}: {value:.4g}")
        figures |= all_by(reference.protocol(network=name, how=f"{drawn}; {score.protocol}"), found)
    print(f"protocol: {scores[0].protocol}")
    return figures
