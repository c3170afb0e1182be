"""Pictures of classes that collages are made of: samples of a generator, or held-out images and their projections."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from omegaconf import DictConfig
from torch import Tensor

from editors.class_names import class_names
from editors.collage import CollageEditor
from editors.inversion_cache import InversionCache
from editors.invert import Inversion, InversionSettings, invert
from editors.loading import load
from launch.data import reference_images, require_size
from launch.figures import Source
from networks.checkpoints.errors import GanvasError
from networks.latent import Latent
from networks.sngan import ConditionalGenerator


@dataclass(frozen=True)
class Pictures:
    """Pictures, what they show, and the codes that draw them."""

    images: Tensor          # [N, 3, R, R] in [-1, 1]
    labels: Tensor          # int64 [N], numbers of classes
    latent: Latent | None   # of images near codes, once they are projected

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, items: Tensor | slice) -> Pictures:
        return Pictures(self.images[items], self.labels[items], None if self.latent is None else self.latent[items])


def conditional_editor(cfg: DictConfig) -> CollageEditor:
    """The editor of ``generator=``, a class-conditional GAN of RGB images.

    Raises:
        GanvasError: if it is missing, or another kind of generator.
    """
    if not cfg.generator:
        raise GanvasError(f"recipe={cfg.recipe.name} needs generator=FILE, the bundle of a class-conditional GAN.")
    editor = load(cfg.generator, device=cfg.device)
    if not isinstance(editor, CollageEditor) or not isinstance(editor.generator, ConditionalGenerator):
        raise GanvasError(f"generator={cfg.generator} has no classes: recipe={cfg.recipe.name} is for "
                          "class-conditional GANs.")  # fmt: skip
    if editor.generator.img_channels != 3:
        raise GanvasError(f"generator={cfg.generator} draws {editor.generator.img_channels} channels, and judges see "
                          "colour: give one of RGB images.")  # fmt: skip
    return editor


def one_hot(labels: Tensor, generator: ConditionalGenerator) -> Tensor:
    """Numbers of classes ``[N]`` as labels ``[N, classes]``, on the generator's device."""
    return torch.eye(generator.c_dim, device=generator.device)[labels.to(generator.device)]


def other_classes(labels: Tensor, classes: int) -> Tensor:
    """For each picture another class than its own, each of them as often, int64 ``[N]``.

    Example:
        >>> other_classes(torch.tensor([0, 1, 2, 0, 1, 2]), 3).tolist()
        [1, 2, 0, 2, 0, 1]
    """
    return (labels + 1 + _turns(labels) % (classes - 1)) % classes


def samples(editor: CollageEditor, n: int, seed: int, labels: Tensor | None = None, first: int = 0) -> Pictures:
    """Samples ``first``, ... of a seed, of given classes or of all in turn."""
    generator = editor.generator
    latent = generator.sample(n, seed, None if labels is None else one_hot(labels, generator).cpu(), first=first)
    return Pictures(editor.render(latent).cpu(), latent.label.argmax(1).cpu(), latent)


def heldout(cfg: DictConfig, generator: ConditionalGenerator, n: int) -> tuple[Pictures, Source]:
    """Held-out images of the generator's classes, and which they are.

    Raises:
        GanvasError: if ``data=`` brings no classes, others, or images of another size.
    """
    found = reference_images(cfg, n, generator.img_resolution)
    if found.labels is None:
        raise GanvasError("images of the generator's classes are needed: give data=styles, data=fashion_mnist, or "
                          "data=folder with data.labels=true.")  # fmt: skip
    if (known := class_names(generator)) != tuple(found.label_names):
        raise GanvasError(f"the images show {', '.join(found.label_names)}, and the generator's classes are "
                          f"{', '.join(known)}: give the images that it was trained for.")  # fmt: skip
    require_size(found.images.numpy(), generator)
    protocol = found.protocol()
    pictures = Pictures(found.images.float() / 127.5 - 1, found.labels.argmax(1), None)
    return pictures, Source(protocol.data, protocol.split)


def halves(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """Of each class every other picture, and the rest."""
    odd = _turns(pictures.labels) % 2
    return pictures[(odd == 0).nonzero().flatten()], pictures[odd.nonzero().flatten()]


def _turns(labels: Tensor) -> Tensor:
    """How many pictures before each are of its class, int64 ``[N]``."""
    return torch.stack([(labels[:i] == label).sum() for i, label in enumerate(labels)])


def matching(pictures: Pictures, labels: Tensor, names: tuple[str, ...]) -> Pictures:
    """A picture of each of these classes, those of a class in turn.

    Raises:
        GanvasError: if there is none of a class.
    """
    chosen, used = [], dict.fromkeys(range(len(names)), 0)
    for label in labels.tolist():
        there = (pictures.labels == label).nonzero().flatten()
        if not len(there):
            raise GanvasError(f"no held-out image shows {names[label]} beside those that are edited: raise n=.")
        chosen.append(there[used[label] % len(there)])
        used[label] += 1
    return pictures[torch.stack(chosen)]


def project(
    editor: CollageEditor, images: Tensor, labels: Tensor, settings: InversionSettings
) -> tuple[Latent, Tensor, Tensor]:
    """Codes of images whose classes are known, PSNR and perceptual distance of what they draw, ``[N]`` both.

    Args:
        editor: of the generator, with its cache.
        images: ``[N, 3, R, R]`` in [-1, 1].
        labels: int64 ``[N]``.
        settings: but for the class.
    """
    order, found = [], []
    for label in labels.unique().tolist():
        these = (labels == label).nonzero().flatten()
        order.append(these)
        found.append(of_class(editor, images[these], label, settings))
    back = torch.cat(order).argsort()
    psnr, distance = (torch.cat([getattr(each, name).cpu() for each in found])[back] for name in ("psnr", "distance"))
    return Latent.cat([each.latent for each in found])[back.to(editor.generator.device)], psnr, distance


def of_class(editor: CollageEditor, images: Tensor, label: int, settings: InversionSettings) -> Inversion:
    """Projections of images, all for one class."""
    named = replace(settings, label=editor.classes[label])
    cache: InversionCache | None = editor.cache
    return invert(editor.generator, images, named, cache=cache, progress=True)
