"""``ganvas <verb> --help``: the options of a verb, read from its schema."""

from __future__ import annotations

from dataclasses import Field
from typing import Any

from launch.options import MANDATORY, default_of, options
from launch.paths import CONF
from launch.schemas import SHORT, VERBS, group_schemas


def describe(verb: str, does: str, example: str) -> str:
    """What ``ganvas <verb> --help`` prints: every key with type, default and one line, then an example."""
    lines = [f"ganvas {verb} key=value …    {does}", ""]
    lines += [_row(key, item) for key, item in options(VERBS[verb])]
    lines += [f"  {short:<60} short for {key}" for short, key in SHORT.get(verb, {}).items()]
    for group, choices in group_schemas(verb).items():
        for name, schema in choices.items():
            if rows := [_row(key, item) for key, item in options(schema, f"{group}.")]:
                lines += ["", f"with {group.replace('.', '/')}={name}:", *rows]
    roots = {key.split(".")[0] for key, _ in options(VERBS[verb]) if "." in key}
    groups = sorted(roots | {group.replace(".", "/") for group in group_schemas(verb)})
    choices = {group: sorted(file.stem for file in (CONF / group).glob("*.yaml")) for group in groups}
    rows = [f"  {group}={'|'.join(names)}" for group, names in choices.items() if names]
    if rows:
        lines += ["", "choices:", *rows]
    return "\n".join([*lines, "", f"example: {example}"])


def _row(key: str, item: Field[Any]) -> str:
    default = default_of(item)
    words = {MANDATORY: "needed", "None": "null", "": "''"}
    shown = words.get(str(default), str(default))
    return f"  {key:<36} {str(item.type).replace(' | None', ''):<10} {shown:<12} {item.metadata['doc']}"
