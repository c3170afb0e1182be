"""From the words on the command line to one checked configuration, with Hydra's compose API.

What Hydra would say in a page, a person gets in one sentence (:class:`GanvasError`).
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from launch import presets
from launch.options import options
from launch.paths import CONF
from launch.schemas import ELSEWHERE, SHORT, VERBS, group_schemas, register
from networks.checkpoints.errors import GanvasError

GRIDS = "paper/"  # folder of conf/experiment with what only a sweep runs


def compose(verb: str, words: Sequence[str], command: str = "") -> DictConfig:
    """The configuration of ``ganvas <verb> <words>``, read-only and complete.

    Args:
        verb: a key of :data:`launch.schemas.VERBS`.
        words: ``key=value`` each, as the shell hands them over.
        command: what was typed, kept in the configuration for the record.

    Raises:
        GanvasError: for an unknown key, a wrong type, an unknown choice, or a missing value.
    """
    register()
    presets.register()
    _refuse_grid(verb, words)
    words, passed = _divide(verb, words)
    words = _in_full(verb, words)
    overrides = [_override(verb, word) for word in words]
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = hydra_compose(verb, overrides, return_hydra_config=True)
            choices = cfg.hydra.runtime.choices
            with open_dict(cfg):
                del cfg["hydra"]
            cfg.command = literal(command)
            if verb == "sweep":
                cfg.own, cfg.passed = [literal(word) for word in overrides], [literal(word) for word in passed]
            if "experiment" in cfg:
                cfg.experiment = choices.get("experiment")
            OmegaConf.to_container(cfg, resolve=True)  # finds a dangling ${...} of a file here, not in mid-run
    except (HydraException, OmegaConfBaseException) as error:
        raise GanvasError(_sentence(verb, words, error)) from error
    except (AttributeError, AssertionError) as error:   # of OmegaConf, which merges nothing into a null group
        if (word := _inside_null(verb, words, overrides)) is None:
            raise
        raise GanvasError(f"`{word}` is inside a group that is null here, into which nothing can be typed: set it in "
                          "an experiment of your own (a file in conf/experiment).") from error  # fmt: skip
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise GanvasError(_missing_sentence(verb, missing))
    OmegaConf.set_readonly(cfg, True)
    return cfg


def _refuse_grid(verb: str, words: Sequence[str]) -> None:
    """Refuse a paper's grid where one run is wanted.

    Raises:
        GanvasError: naming the command that runs it.
    """
    for word in words:
        if verb != "sweep" and word.startswith(f"experiment={GRIDS}"):
            raise GanvasError(f"{word.partition('=')[2]} is a paper's grid of runs: use `ganvas sweep {word}`.")


def _divide(verb: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are the verb's own, and those that a sweep passes on to its jobs: all that it does not know."""
    if verb != "sweep":
        return [*words], []
    known = {key.partition(".")[0] for key in known_keys(verb)}
    own, passed = [], []
    for word in words:
        key = word.partition("=")[0]
        is_own = word.startswith(f"experiment={GRIDS}") or (key != "experiment" and key.partition(".")[0] in known)
        (own if is_own else passed).append(word)
    return own, passed


def _in_full(verb: str, words: Sequence[str]) -> list[str]:
    """The words with :data:`launch.schemas.SHORT` keys written out.

    Raises:
        GanvasError: if a key is given in both ways, with different values.
    """
    given = dict(word.partition("=")[::2] for word in words)
    short = SHORT.get(verb, {})
    for key, full in short.items():
        if given.get(key, given.get(full)) != given.get(full, given.get(key)):
            raise GanvasError(f"{key}={given[key]} and {full}={given[full]} contradict one another, since the one is "
                              "short for the other: give one of them.")  # fmt: skip
    parts = (word.partition("=") for word in words)
    return [f"{short.get(key, key)}{equals}{value}" for key, equals, value in parts]


def _override(verb: str, word: str) -> str:
    """One ``key=value`` in Hydra's grammar, the values of text keys quoted so that they arrive as typed."""
    key, equals, value = word.partition("=")
    if not equals or not key.replace(".", "").replace("_", "").replace("/", "").isalnum():
        raise GanvasError(f"`{word}` is not an option: write key=value, as in `ganvas {verb} --help`.")
    if key in text_keys(verb) and value != "null":
        return f"{key}={quoted(value)}"
    if value == "null" and (choices := choices_of(key)):
        raise GanvasError(f"`{word}` chooses nothing; there are {', '.join(choices)}.")
    readable = f"{key}={_letters_quoted(value)}" if value.startswith("[") else word
    try:
        parsed = OverridesParser.create().parse_override(readable)
    except HydraException as error:
        if key in list_keys(verb) and value and not value.startswith("["):   # such as a path that grammar stumbles over
            return f"{key}=[{quoted(value)}]"
        raise GanvasError(f"`{word}` cannot be read; a list is written {key}=[a,b].") from error
    if parsed.is_sweep_override():
        raise GanvasError(f"`{word}` gives several values: `ganvas {verb}` takes one; write a list as {key}=[a,b].")
    if key in list_keys(verb) and isinstance(parsed.value(), (str, int, float)):
        return f"{key}=[{value}]"  # a list of one may go without its brackets
    return readable


def quoted(text: str) -> str:
    """``text`` in Hydra's grammar, as a value that arrives as it is."""
    return QuotedString(literal(text), Quote.single).with_quotes()


def _letters_quoted(listed: str) -> str:
    """A list whose items with letters beyond ASCII, which Hydra's grammar lacks, stand in quotes.

    Example:
        >>> _letters_quoted("[a hat, chapéu]")
        "[a hat, 'chapéu']"
    """
    return re.sub(
        r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|[^][{},'"\s][^][{},]*""",
        lambda item: item[0] if item[1] or item[0].isascii() else quoted(item[0].rstrip()), listed,
    )  # fmt: skip


def literal(text: str) -> str:
    """``text`` as OmegaConf must be given it, so that ``${...}`` is not a reference to another key."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


@cache
def text_keys(verb: str) -> frozenset[str]:
    """Keys whose values are text, taken as typed: commas, quotes, brackets, spaces and ``=`` included."""
    found = {key for key, kind in _all_keys(verb) if _is_text(kind)}
    return frozenset(found - {"experiment"})  # the name of a file in conf/experiment, not text


@cache
def list_keys(verb: str) -> frozenset[str]:
    """Keys whose values are lists."""
    return frozenset(key for key, kind in _all_keys(verb) if get_origin(kind) is list)


def _all_keys(verb: str) -> Iterator[tuple[str, Any]]:
    """Every key of the verb and of its groups' choices, with its type."""
    yield from _typed_keys(VERBS[verb], "")
    for group, choices in group_schemas(verb).items():
        for schema in choices.values():
            yield from _typed_keys(schema, f"{group}.")


def _typed_keys(schema: type, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, kind in get_type_hints(schema).items():
        if hasattr(kind, "__dataclass_fields__"):
            yield from _typed_keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind


def _is_text(kind: Any) -> bool:
    if get_origin(kind) in (Union, types.UnionType):
        return set(get_args(kind)) <= {str, type(None)}
    return kind is str


def _sentence(verb: str, words: Sequence[str], error: Exception) -> str:
    """What Hydra or OmegaConf refused, for people."""
    if isinstance(error, MissingConfigException):
        return _choice_sentence(verb, error)
    if in_file := re.match(r"In '(.+?)': \w+ raised while composing config:\s+(.+)", str(error)):
        return f"{CONF.name}/{in_file[1]}.yaml is wrong: {in_file[2].rstrip('.')}."
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    key = getattr(cause, "full_key", None) or ""
    word = next((word for word in words if word.partition("=")[0] == key), None)
    if word is None and isinstance(cause, (ConfigKeyError, ConfigAttributeError)):
        word = next((word for word in words if f"'{word.partition('=')[0]}'" in str(error)), None)
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)) and word:
        key = word.partition("=")[0]
        if elsewhere := choices_with(verb, key):
            return f"`{key}` is an option of {' and '.join(elsewhere)}: choose that, or leave the option out."
        if instead := ELSEWHERE.get(verb, {}).get(key):
            return f"`ganvas {verb}` has no option `{key}`: {instead}."
        return f"`ganvas {verb}` has no option `{key}`{_nearest(key, known_keys(verb)) or '.'}"
    return f"`{word or key or verb}` does not fit: {_first_line(cause)}."


def _inside_null(verb: str, words: Sequence[str], overrides: Sequence[str]) -> str | None:
    """The first word that sets something inside a group that is null without it; None: there is none."""
    keys = [word.partition("=")[0] for word in words]
    others = [override for key, override in zip(keys, overrides, strict=True) if "." not in key]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra_compose(verb, others)
    for word, key in zip(words, keys, strict=True):
        inside = key if word.partition("=")[2].startswith("{") else key.rpartition(".")[0]
        if inside and OmegaConf.select(cfg, inside, default=cfg) is None:
            return word
    return None


def known_keys(verb: str) -> list[str]:
    """Everything that may stand before ``=``: options, options of every choice of a group, and the groups."""
    found = {key for key, _ in options(VERBS[verb])} | SHORT.get(verb, {}).keys()
    for group, choices in group_schemas(verb).items():
        found.add(group.replace(".", "/"))
        found |= {key for schema in choices.values() for key, _ in options(schema, f"{group}.")}
    return sorted(found)


def choices_with(verb: str, key: str) -> list[str]:
    """The choices of groups that have an option of this name, as ``group=choice``.

    Example:
        >>> choices_with("sweep", "launcher.partition")
        ['launcher=submitit_slurm']
    """
    return [
        f"{group.replace('.', '/')}={name}"
        for group, choices in group_schemas(verb).items()
        for name, schema in choices.items()
        if key in dict(options(schema, f"{group}."))
    ]


def _nearest(word: str, known: Sequence[str]) -> str:
    """The known words most like ``word``, comparing last parts too, as the end of a sentence."""
    tail = word.rpartition(".")[2]
    close = [key for key in known if key.rpartition(".")[2] == tail] or difflib.get_close_matches(word, known, 3, 0.5)
    return "; did you mean " + " or ".join(f"`{key}`" for key in close) + "?" if close else ""


def _choice_sentence(verb: str, error: MissingConfigException) -> str:
    path = str(error.missing_cfg_file or "")
    group, _, name = path.rpartition("/")
    if group.replace("/", ".") not in group_schemas(verb):  # not one inside another: a file in folders of a group
        group, _, name = path.partition("/")
    if path.startswith("hydra/launcher/"):
        name = path.rpartition("/")[2]
        return f"launcher={name} needs a package that is not installed: `pip install 'ganvas[sweep]'`."
    available = choices_of(group)
    known = f"; known: {', '.join(available)}." if available else "."
    return f"there is no {group} `{name}`{_nearest(name, available) or known}"


def choices_of(group: str) -> list[str]:
    """The names that ``group=`` accepts: the files below ``conf/<group>``."""
    folder = CONF / group
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml"))


def _missing_sentence(verb: str, missing: Sequence[str]) -> str:
    if "task.name" in missing:
        return "nothing says what to train: add experiment=NAME (`ganvas configs` lists them)."
    return f"`ganvas {verb}` needs {', '.join(f'{key}=…' for key in missing)}; `ganvas {verb} --help` says more."


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
