"""What can be said of images in place of what a text says, and what it says nothing of: statements in groups.

Of each group, such as colours of hair, one statement fits an image, and a CLIP tells which by a softmax over the group
(Radford et al. 2021, arXiv 2103.00020, section 3.1.2). A direction of features says how images are to move but not when
they have arrived, and moves everything that happens to lie along it; statements say both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.clip import TEMPLATES, ClipMix

SCALE = 20.0   # of cosines in a softmax: half of what the CLIPs trained here learn, so that near misses have a gradient
HALF = 0.5     # groups that explain as large a share as that of the best one are spoken of; and see `Contrasts.of`


@dataclass(frozen=True)
class Statements:
    """Groups of statements of which one fits an image.

    Args:
        names: of G groups.
        vectors: of each model and each group ``[S, D]``, unit vectors.
        scale: what cosines are multiplied by in a softmax.
    """

    names: tuple[str, ...]
    vectors: tuple[tuple[Tensor, ...], ...]
    scale: float = SCALE

    @staticmethod
    def of(
        mix: ClipMix, groups: Mapping[str, Sequence[str]], templates: Sequence[str] = TEMPLATES, scale: float = SCALE
    ) -> Statements:  # fmt: skip
        """Encode them.

        Args:
            mix: the models.
            groups: statements by name of their group; one may be said in several ways, separated by ``|``.
            templates: sentences around a statement.
            scale: see above.

        Raises:
            GanvasError: if a statement is empty, too long, or has no word that a model knows.
        """
        encoded = [[[mix.encode_neutral(said, templates)[m] for said in group] for group in groups.values()]
                   for m in range(len(mix.models))]  # fmt: skip
        vectors = tuple(tuple(F.normalize(torch.stack(group), dim=1) for group in model) for model in encoded)
        return Statements(tuple(groups), vectors, scale)

    def logits(self, model: int, group: int, features: Tensor) -> Tensor:
        """How well each statement fits images, ``[N, D]`` -> ``[N, S]``."""
        return self.scale * features.float() @ self.vectors[model][group].to(features.device).T

    def explained(self, features: Sequence[Tensor], ways: Sequence[Tensor]) -> Tensor:
        """How much each group knows of what texts ask, ``[K, G]``: the share of the variance, mean over the models.

        A text speaks of a group where it fits just those images that some of its statements fit: R^2 of the images'
        features along the text's direction, by a least-squares fit on the group's probabilities.

        Args:
            features: of images, of each model ``[N, D]``.
            ways: where texts lead, of each model ``[K, D]``.
        """
        shares = torch.zeros(len(ways[0]), len(self.names), dtype=torch.float64)
        for m, (x, way) in enumerate(zip(features, ways, strict=True)):
            along = (x.double() @ way.to(x).double().T).cpu()
            along = along - along.mean(0)
            for g in range(len(self.names)):
                known = self.logits(m, g, x).softmax(1).double().cpu()
                fit = torch.linalg.lstsq(known, along, driver="gelsd").solution   # the rows of `known` sum to 1
                left = (along - known @ fit).square().sum(0) / along.square().sum(0).clamp_min(1e-12)
                shares[:, g] += (1 - left) / len(features)
        return shares


@dataclass(frozen=True)
class Contrasts:
    """What statements ask of images that are to follow K texts.

    Args:
        statements: see there.
        about: which groups each text speaks of, bool ``[K, G]``.
        choices: of each model and each text ``[1 + C, D]``: the text, and what contradicts it.
        weights: of the models; they sum to 1.
    """

    statements: Statements
    about: Tensor
    choices: tuple[tuple[Tensor, ...], ...]
    weights: tuple[float, ...]

    @staticmethod
    def of(
        statements: Statements, features: Sequence[Tensor], targets: Sequence[Tensor], ways: Sequence[Tensor],
        weights: tuple[float, ...], given: Sequence[Sequence[str]] = (),
    ) -> Contrasts:  # fmt: skip
        """Find which groups texts speak of, and what contradicts them.

        Args:
            statements: that there are.
            features: of images as they are, of each model ``[N, D]``.
            targets: texts, of each model ``[K, D]``.
            ways: where each leads from what it is to differ from, of each model ``[K, D]``.
            weights: of the models.
            given: names of the groups that each text speaks of, that of what contradicts it first; none: it is found.

        Raises:
            ValueError: if there is no such group.
        """
        shares = statements.explained(features, ways)
        about, best = shares >= HALF * shares.amax(1, keepdim=True), shares.argmax(1).tolist()
        for k, names in enumerate(given):
            if names:
                if missing := set(names) - set(statements.names):
                    raise ValueError(f"there is no group {', '.join(sorted(missing))} among {list(statements.names)}")
                groups = [statements.names.index(name) for name in names]
                about[k], best[k] = torch.zeros(len(statements.names), dtype=torch.bool), groups[0]
                about[k, groups] = True
        choices = []
        for vectors, target, way in zip(statements.vectors, targets, ways, strict=True):
            own = []
            for k, g in enumerate(best):
                said = vectors[g].to(target)
                along = (said - said.mean(0)) @ way[k]
                own.append(torch.cat([target[k : k + 1], said[along < HALF * along.max()]]))
            choices.append(tuple(own))
        return Contrasts(statements, about.to(targets[0].device), tuple(choices), weights)

    def only(self, k: int) -> Contrasts:
        """Of text k alone."""
        return replace(self, about=self.about[k : k + 1], choices=tuple((model[k],) for model in self.choices))

    def groups_of(self, k: int) -> list[str]:
        """Names of the groups that text k speaks of."""
        return [name for name, said in zip(self.statements.names, self.about[k].tolist(), strict=True) if said]

    def distances(self, edited: Sequence[Tensor], source: Sequence[Tensor], which: Tensor) -> dict[str, Tensor]:
        """How far edited images are from what statements ask, as ``Wish.distances``.

        ``contrast``: ``-log`` of the text's probability among what contradicts it, ``[N]``; ``unsaid``: by how much
        other groups' probabilities have changed, the sum of KL(before | after) over them, ``[N]``.
        """
        contrast, unsaid = torch.zeros(len(which), device=which.device), torch.zeros(len(which), device=which.device)
        with torch.autocast(which.device.type, enabled=False):   # half precision would round cosines by hundredths
            for m, (weight, x, x0) in enumerate(zip(self.weights, edited, source, strict=True)):
                contrast = contrast + weight * self._contrast(m, x.float(), which)
                unsaid = unsaid + weight * self._unsaid(m, x.float(), x0.float(), which)
        return {"contrast": contrast, "unsaid": unsaid}

    def _contrast(self, m: int, x: Tensor, which: Tensor) -> Tensor:
        found = torch.zeros(len(which), device=which.device)
        for k in which.unique().tolist():
            at = which == k
            logits = self.statements.scale * x[at] @ self.choices[m][k].to(x).T
            found = found.masked_scatter(at, -logits.log_softmax(1)[:, 0])
        return found

    def _unsaid(self, m: int, x: Tensor, x0: Tensor, which: Tensor) -> Tensor:
        held = ~self.about[which]  # [N, G]
        found = torch.zeros(len(which), device=which.device)
        for g in range(len(self.statements.names)):
            before, after = (self.statements.logits(m, g, seen).log_softmax(1) for seen in (x0, x))
            found = found + held[:, g] * (before.exp() * (before - after)).sum(1)
        return found
