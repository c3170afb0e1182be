"""What a layout may hold so that its weights, its image and their derivatives are finite in single precision."""

from __future__ import annotations

import torch

from cuda_ops.blob_splat import MAX_BLOBS
from networks.blobgan.layout import Layout
from networks.blobgan.operations import FEATURES

FARTHEST = 1e3      # of a centre from the upper left corner, in widths of the image; squares overflow from 1e16 on
# |log_aspect|: a longer blob is no thinner, since its width is the renderer's softening from e^8 on, and the second
# derivatives of its weights leave float32 from about e^50 on.
MOST_STRETCHED = 40.0
LOUDEST = 100.0     # root mean square of a row of features; all that a layout network draws have 1
UNIT = 1e-2         # how far the length of an angle's vector may be from 1


def fault(layout: Layout) -> str | None:
    """What scenes have that cannot be rendered, to be put behind ``the scenes have``; None if all can."""
    if not 1 <= layout.k <= MAX_BLOBS:
        return f"{layout.k} blobs, and 1 to {MAX_BLOBS} can be rendered"
    for name, tensor in layout.tensors().items():
        if not tensor.is_floating_point() or not torch.isfinite(tensor.float()).all():
            return f"{'an' if name[0] in 'ao' else 'a'} {name} that is no number, NaN or infinite"
    if (layout.centre.abs() > FARTHEST).any():
        return f"a centre more than {FARTHEST:g} widths of the image away"
    if (layout.log_aspect.abs() > MOST_STRETCHED).any():
        return f"a log_aspect outside of [-{MOST_STRETCHED:g}, {MOST_STRETCHED:g}]"
    if ((layout.angle.norm(dim=2) - 1).abs() > UNIT).any():
        return "an angle that is no unit vector"
    if layout.opacity is not None and ((layout.opacity < 0) | (layout.opacity > 1)).any():
        return "an opacity outside of [0, 1]"
    for name in FEATURES:
        if (getattr(layout, name).square().mean(dim=2) > LOUDEST**2).any():
            return f"a {name} of more than {LOUDEST:g} times the usual length"
    return None
