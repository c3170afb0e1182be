"""``task=blobgan``: a generator of scenes trained from images, its blobs drawn beside its samples and counted."""

from __future__ import annotations

from omegaconf import DictConfig

from cuda_ops.blob_splat import MAX_BLOBS
from launch import gan_training
from launch.data import training_data
from launch.figures import Figure, Protocol, all_by
from launch.record import RunRecord
from launch.reports.blobs import blob_grid
from networks.blobgan import Layout
from networks.blobgan.usage import blob_usage
from networks.checkpoints.errors import GanvasError
from trainers.blobgan import BlobGANTrainer
from trainers.gan_callbacks import EveryImages

COUNTED = 256  # scenes behind the figures of how blobs are used
SHOWN = 16     # scenes in a sheet


def train(cfg: DictConfig, record: RunRecord) -> dict[str, Figure]:
    """Train as every generator is; sheets with blobs and figures of their use come with each checkpoint.

    Returns:
        As :func:`launch.gan_training.train`, and how the blobs are used at the end.

    Raises:
        GanvasError: as :func:`launch.gan_training.train`, for labels, which BlobGAN does not take, and for more blobs
            than can be rendered.
    """
    if cfg.data.get("labels"):
        raise GanvasError("task=blobgan takes no labels: add data.labels=false.")
    if (k := cfg.task.generator.k) > MAX_BLOBS:  # before any image is prepared
        raise GanvasError(f"task.generator.k={k} must be at most {MAX_BLOBS}: no more blobs can be rendered.")
    used: dict[str, float] = {}

    def look(module: BlobGANTrainer) -> None:
        used.update(usage(module))
        record.log(used, module.images_seen)
        picture = blob_grid(module.G_ema, module.G_ema.sample(SHOWN, 0))
        record.image(f"blobs-{module.images_seen:08d}", picture, module.images_seen)

    figures = gan_training.train(cfg, record, [EveryImages(cfg.task.checkpoint_every, look)])
    return figures | all_by(Protocol(training_data(cfg), "samples, seed 0", COUNTED, how="blobs without jitter"), used)


def usage(module: BlobGANTrainer) -> dict[str, float]:
    """Figures of the averaged generator's blobs, without jitter."""
    layout, synthesis = Layout.of(module.G_ema.sample(COUNTED, 0)), module.G_ema.synthesis
    weights = layout.weights(2 * synthesis.smallest, synthesis.smallest, synthesis.area, synthesis.offset)
    return blob_usage(layout, weights[synthesis.smallest])
