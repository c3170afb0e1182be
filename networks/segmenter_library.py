"""Feed-forward segmentation networks of a library, ``segmentation_models_pytorch``, trained from scratch.

Its architectures (U-Net, FPN, DeepLabV3+, SegFormer ...) over its encoders and timm's. No weights are fetched.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from networks.checkpoints.errors import GanvasError
from networks.torchvision_shim import declare_torchvision_ops


class LibrarySegmenter(nn.Module):
    """Class logits of each pixel, ``[N, C, H, W]`` in [-1, 1] -> ``[N, K, H, W]``.

    Raises:
        GanvasError: if the library is not installed, or does not know the architecture or the encoder.
        ValueError: if the images do not fit the network's strides.
    """

    def __init__(
        self,
        num_classes: int,
        architecture: str = "unet",   # as the library calls it, lower case
        encoder: str = "resnet18",    # as the library calls it; "tu-NAME" for timm's
        in_channels: int = 3,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_classes, self.in_channels, self.multiple = num_classes, in_channels, 32
        self.network = _create(architecture, encoder, in_channels, num_classes)
        self._config = {"num_classes": num_classes, "architecture": architecture, "encoder": encoder,
                        "in_channels": in_channels}  # fmt: skip

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments, as a manifest stores them."""
        return dict(self._config)

    def forward(self, images: Tensor) -> Tensor:
        n, c, h, w = images.shape if images.ndim == 4 else (0, 0, 0, 0)
        if c != self.in_channels or h % self.multiple or w % self.multiple or not n:
            raise ValueError(
                f"images must be [N, {self.in_channels}, H, W] with H, W multiples of {self.multiple}, "
                f"got {list(images.shape)}"
            )
        return self.network(images)


def _create(architecture: str, encoder: str, in_channels: int, classes: int) -> nn.Module:
    declare_torchvision_ops()  # the library imports torchvision, which may not fit torch
    try:
        import segmentation_models_pytorch as library  # an optional package, slow to import
    except ImportError as error:
        raise GanvasError("this network needs a package that is not installed: `pip install 'ganvas[distill]'`, or "
                          "choose task/network=unet.") from error  # fmt: skip
    try:
        return library.create_model(
            architecture, encoder_name=encoder, encoder_weights=None, in_channels=in_channels, classes=classes
        )
    except (KeyError, RuntimeError, ValueError) as error:
        said = str(error.args[0] if error.args else error).splitlines()[0]
        raise GanvasError(f"there is no network architecture={architecture} with encoder={encoder} ({said[:160]}): see "
                          "the documentation of segmentation_models_pytorch.") from error  # fmt: skip
