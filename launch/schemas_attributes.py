"""Options of ``task=attributes`` and ``task=identity``: the networks that judge edits."""

from __future__ import annotations

from dataclasses import dataclass

from launch.options import option
from launch.schemas import TaskConfig


@dataclass
class AttributeNetworkConfig:
    """Arguments of ``networks.attributes.AttributeClassifier``."""

    _target_: str = option(
        "networks.attributes.AttributeClassifier", "class", runtime=("attributes", "resolution")
    )
    trunk: str = option("dense", "dense or mixer: two architectures")
    width: int = option(32, "channels of the trunk; dense: of its first layer, an even number", memory=True)


@dataclass
class AttributeTrainingConfig:
    """Arguments of ``trainers.attributes.AttributeTrainer``."""

    _target_: str = option(
        "trainers.attributes.AttributeTrainer", "class", runtime=("network", "total_steps", "seed")
    )
    lr: float = option(3e-3, "AdamW's peak rate", diverged="lower")
    weight_decay: float = option(0.01, "AdamW's weight decay")


@dataclass
class AttributesConfig(TaskConfig):
    """Train a classifier of attributes: on rendered avatars, or on a folder with a table of them."""

    name: str = option("attributes", "which training function runs", hidden=True)
    network: AttributeNetworkConfig = option(AttributeNetworkConfig, "the network")
    training: AttributeTrainingConfig = option(AttributeTrainingConfig, "rates")
    table: str | None = option(
        None, "of data=folder: a CSV, the file's name and then its attributes, or CelebA's list_attr_celeba.txt"
    )
    epochs: int = option(6, "passes over the images")
    batch_size: int = option(32, "images in a batch", memory=True)
    heldout: int = option(1000, "images that are scored and never trained on; n= overrides it for avatars")


@dataclass
class IdentityNetworkConfig:
    """Arguments of ``networks.identity.IdentityNetwork``."""

    _target_: str = option("networks.identity.IdentityNetwork", "class", runtime=("resolution",))
    trunk: str = option("dense", "dense or mixer: two architectures")
    width: int = option(32, "channels of the trunk; dense: of its first layer, an even number", memory=True)
    dim: int = option(64, "length of the embedding")


@dataclass
class IdentityTrainingConfig:
    """Arguments of ``trainers.identity.IdentityTrainer``."""

    _target_: str = option("trainers.identity.IdentityTrainer", "class", runtime=("network", "total_steps", "seed"))
    lr: float = option(3e-3, "AdamW's peak rate", diverged="lower")
    weight_decay: float = option(0.01, "AdamW's weight decay")
    temperature: float = option(0.1, "that cosines are divided by")


@dataclass
class IdentityConfig(TaskConfig):
    """Train an embedding that knows an avatar with any expression."""

    name: str = option("identity", "which training function runs", hidden=True)
    network: IdentityNetworkConfig = option(IdentityNetworkConfig, "the network")
    training: IdentityTrainingConfig = option(IdentityTrainingConfig, "loss and rates")
    epochs: int = option(3, "passes over the pairs")
    batch_size: int = option(64, "pairs in a batch; more are harder to tell apart", memory=True)
    heldout: int = option(1000, "persons that are scored and never trained on; n= overrides it")


SCHEMAS = {"task/attributes": AttributesConfig, "task/identity": IdentityConfig}
