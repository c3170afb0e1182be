"""What an option is: a documented field of a dataclass, with marks that the rest of the program reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any

MANDATORY = "???"  # OmegaConf's mark of a value that the user must give


def option(
    default: Any, doc: str, *, memory: bool = False, free: bool = False, bundle: bool = False, diverged: str = "",
    runtime: tuple[str, ...] = (), hidden: bool = False,
) -> Any:  # fmt: skip
    """A documented field of a schema.

    Args:
        default: its value when nothing is said; ``MANDATORY`` when the user must say it; the class of a sub-schema or
            any function that makes the value.
        doc: one line, shown by ``ganvas <verb> --help``.
        memory: lowering this value saves memory, so an out-of-memory sentence names it.
        free: a run that is resumed may have another value: it says where the run goes on, or how much is held at once,
            but nothing that the run learns from. On a sub-schema it holds for all options inside.
        bundle: it names a bundle that the run reads, so that W&B knows what was made from what.
        diverged: ``lower`` or ``raise``: what to do with this value when training diverges, so the sentence says it.
        runtime: on a ``_target_`` field, the constructor arguments that code passes at run time.
        hidden: left out of the help.
    """
    marks = {"memory": memory, "free": free, "bundle": bundle, "diverged": diverged}
    metadata = {"doc": doc, "runtime": runtime, "hidden": hidden, **marks}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def default_of(item: Field[Any]) -> Any:
    """The default of a dataclass field, its factory called."""
    return item.default if item.default_factory is MISSING else item.default_factory()


def options(schema: type, prefix: str = "") -> Iterator[tuple[str, Field[Any]]]:
    """All settable keys of a schema with dots for nesting, sub-schemas unfolded.

    Example:
        >>> dict(options(SampleConfig))["truncation"].default
        1.0
    """
    for item in fields(schema):
        default = default_of(item)
        if is_dataclass(default):
            yield from options(type(default), f"{prefix}{item.name}.")
        elif not item.metadata.get("hidden") and item.name != "_target_":
            yield f"{prefix}{item.name}", item


def arguments(group: Any) -> dict[str, Any]:
    """The options of a composed group as what its ``_target_`` takes."""
    from omegaconf import OmegaConf  # composed already, so it is loaded

    return {name: value for name, value in OmegaConf.to_container(group).items() if name != "_target_"}


def marked(cfg: Any, mark: str) -> dict[str, Any]:
    """The keys of a composed configuration whose :func:`option` has this mark, and what the mark says.

    A marked group stands for all options inside.
    """
    from omegaconf import DictConfig, OmegaConf  # composed already, so Hydra is loaded

    found: dict[str, Any] = {}

    def walk(node: DictConfig, prefix: str) -> None:
        schema = OmegaConf.get_type(node)
        if schema is None or not is_dataclass(schema):
            return
        for item in fields(schema):
            child = node._get_node(item.name)
            if item.metadata.get(mark):
                found[f"{prefix}{item.name}"] = item.metadata[mark]
            elif isinstance(child, DictConfig):
                walk(child, f"{prefix}{item.name}.")

    if cfg is not None:
        walk(cfg, "")
    return found


def may_change(cfg: Any, key: str) -> bool:
    """Whether the run of a composed configuration may go on with another value of this option, given with dots."""
    return any(f"{key}.".startswith(f"{free}.") for free in marked(cfg, "free"))
