"""What an edit by text comes to, in a sentence: whether it is followed, and if not whose fault that is, as measured."""

from __future__ import annotations

from collections.abc import Mapping

from launch.figures import Figure, values
from launch.text_scores import MOST_LEAKED

# Below these a text fails: success, then the reasons in this order.
ENOUGH, SHOWS, TELLS, TAKEN = 0.8, 0.01, 0.8, 0.5


def verdict(figures: Mapping[str, Figure], own: bool = True) -> str:
    """Followed, or what is missing and why.

    Args:
        figures: of ``ganvas evaluate``, at the best strength.
        own: the CLIP of ``tells`` and ``taken`` is the one that the edit was fitted to; these are absent if not.
    """
    value = values(figures)
    if "success" not in value:
        return "not judged: no attribute that the judges know is named"
    faults = []
    if value["success"] < ENOUGH:
        faults.append(f"not followed ({value['success']:.0%} of the images), {_unfollowed(value, own)}")
    if value["leakage_worst"] > MOST_LEAKED:
        faults.append(_leaking(value))
    followed = (f"followed in {value['success']:.0%} of the images, and no other attribute changes in more than "
                f"{value['leakage_worst']:.0%}")  # fmt: skip
    return "; ".join(faults) or followed


def _unfollowed(value: Mapping[str, float], own: bool) -> str:
    """Whose fault it is that few images show what the text names."""
    if value["shows"] < SHOWS:
        return f"because of the generator: {value['shows']:.1%} of its images show it"
    if not own:
        return "for unknown reasons: the CLIP that the edit was fitted to is not the one that is given"
    if "tells" not in value:
        return "for unknown reasons: too few images show it to test the CLIP"
    if value["tells"] < TELLS:
        return f"because of the CLIP: it tells such images from others in {value['tells']:.0%} of pairs"
    if value["taken"] >= TAKEN:
        return f"because of the CLIP: it takes {value['taken']:.0%} of the edited images for such, the judge does not"
    return f"because of the edit: the CLIP takes {value['taken']:.0%} of the edited images for such"


def _leaking(value: Mapping[str, float]) -> str:
    """Which attribute changes most beside what is meant, and whether that is more than the judge's unsteadiness."""
    leaked = {name.removeprefix("leakage "): share for name, share in value.items() if name.startswith("leakage ")}
    worst = max(leaked, key=lambda name: leaked[name])
    floor = value[f"floor {worst}"]
    seen = f"{worst} changes in {leaked[worst]:.0%} of the images, and in {floor:.0%} after a step that nobody sees"
    if 2 * floor >= leaked[worst]:
        return f"leaks because of the judge: {seen}"
    return f"leaks because of the edit: {seen}; whether its CLIP or its generator joins the two is not measured"
