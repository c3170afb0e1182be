"""The jobs of a sweep: a grid over experiments, options and seeds, each job a command that a person could type."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from launch.compose import compose, text_keys
from launch.options import may_change
from launch.schemas import VERBS
from launch.schemas_paper import SIZES, PaperConfig
from launch.sweep_space import check_search, example
from networks.checkpoints.errors import GanvasError

LONGEST = 200  # characters of a job's name, which is a folder's

Axes = Mapping[str, Mapping[str, Sequence[str]]]  # axis -> value -> the words that it stands for


@dataclass(frozen=True)
class Job:
    """One command of a sweep."""

    name: str                # of its folder: "labels=4,head=linear,seed=0"
    at: Mapping[str, str]    # axis -> value
    seed: int
    words: tuple[str, ...]   # of the command, without the verb and ``out=``
    before: Mapping[str, Sequence[str]] = field(default_factory=dict)  # name -> verb and words of what runs first



@dataclass(frozen=True)
class Plan:
    """What a sweep runs."""

    experiment: str | None       # a paper's; None for a grid given on the command line
    size: str
    verb: str
    seeds: int
    jobs: tuple[Job, ...]
    settings: str                # hash of what the jobs learn from, whatever the number of seeds
    minutes: float | None        # that the experiment's file expects of all jobs
    figures: tuple[str, ...]     # what its table shows
    search: Mapping[str, Any] | None = None  # of `sweeper=optuna`: what it varies; its jobs are trials


def plan(cfg: DictConfig) -> Plan:
    """The jobs that ``cfg`` (``launch.schemas.SweepConfig``) describes; each is composed once, so that none is wrong.

    Raises:
        GanvasError: if a value or a word cannot be used, or there is nothing to run.
    """
    paper = cfg.paper or OmegaConf.structured(PaperConfig)
    size = _size(cfg, paper)
    if "trials" in cfg.sweeper:
        return _search_plan(cfg, paper, size)
    axes = {**_axes(paper, size), **_axes_of_words(cfg, paper)}
    fixed = _fixed(paper, size)
    seeds = cfg.seeds if cfg.seeds is not None else size.seeds if size else 1
    if seeds < 1:
        raise GanvasError(f"seeds={seeds} leaves nothing to run: give at least 1.")
    given = {key: value for key, _, value in (word.partition("=") for word in cfg.passed)}
    last = [*_single(cfg, paper), *_group(cfg, paper)]  # what the command says stands above what the file says
    combinations = [
        (at, merged([*fixed, *words, *put_in(_further(size, at), given), *last])) for at, words in _combinations(axes)
    ]
    before = [_before(size, at, given) for at, _ in combinations]
    named = _settings(paper, combinations, before)
    jobs = [
        job for (at, words), first in zip(combinations, before, strict=True)
        for job in _seeded(paper, at, words, seeds, first)
    ]  # fmt: skip
    if len({job.name for job in jobs}) < len(jobs):
        raise GanvasError("two jobs of this grid would have the same name: name each value once.")
    share = seeds / size.seeds if size else 1
    minutes = None if size is None or size.minutes is None else size.minutes * share
    return Plan(cfg.experiment, cfg.size, paper.verb, seeds, tuple(jobs), named, minutes, tuple(_shown(cfg, paper)))


def folder_of(cfg: DictConfig) -> Path:
    """Where the sweep writes: the same place for the same command, so that it goes on there."""
    return Path(cfg.out or f"runs/{cfg.experiment or 'sweep'}/{cfg.size}")


def merged(words: Sequence[str]) -> tuple[str, ...]:
    """``words`` with the last of each key alone, where the first of it stood; the experiment comes first.

    Example:
        >>> merged(["n=4", "experiment=a", "experiment=b"])
        ('experiment=b', 'n=4')
    """
    last = {word.partition("=")[0]: word for word in words}
    return tuple(sorted(last.values(), key=lambda word: not word.startswith("experiment=")))


def put_in(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Words with what each ``{name}`` in them stands for.

    Example:
        >>> put_in(["seed={seed}", "images={images}"], {"seed": "3"})
        ['seed=3', 'images={images}']
    """
    def value(found: re.Match[str]) -> str:
        return values.get(found[1], found[0])

    return [re.sub(r"\{([\w.]+)\}", value, word) for word in words]


def safe_name(at: Mapping[str, str], seed: int) -> str:
    """A folder's name, readable and the same every time.

    Example:
        >>> safe_name({"labels": "4", "head": "a b/c"}, 0)
        'labels=4,head=a-b-c,seed=0'
    """
    name = re.sub(r"[^\w.=,+-]+", "-", ",".join([*(f"{axis}={value}" for axis, value in at.items()), f"seed={seed}"]))
    if len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _search_plan(cfg: DictConfig, paper: DictConfig, size: DictConfig | None) -> Plan:
    """The trials of a search, whose values are drawn when they run.

    Raises:
        GanvasError: if the experiment declares no search, or what is given does not fit one.
    """
    if paper.search is None:
        raise GanvasError("sweeper=optuna needs an experiment that declares a search: "
                          "experiment=paper/stylegan2_discriminators has one.")  # fmt: skip
    if cfg.seeds is not None or _axes_of_words(cfg, paper):
        raise GanvasError("a search has neither seeds= nor several values of an option: leave them out, and give "
                          "sweeper.trials and sweeper.seed.")  # fmt: skip
    if cfg.sweeper.trials < 1 or cfg.sweeper.startup < 1 or cfg.sweeper.seed < 0:
        raise GanvasError("sweeper.trials and sweeper.startup must be at least 1, and sweeper.seed at least 0.")
    search = {**OmegaConf.to_container(paper.search), "seed": cfg.sweeper.seed, "startup": cfg.sweeper.startup}
    check_search(search)
    words = merged([*_fixed(paper, size, search.pop("overrides")), *_single(cfg, paper), *_group(cfg, paper)])
    told = _settings(paper, [(search, words)])
    compose(paper.verb, [*words, *(f"{key}={example(value)}" for key, value in search["space"].items()), "out=job"])
    places = [f"{trial:03d}" for trial in range(cfg.sweeper.trials)]
    jobs = tuple(Job(f"trial={place}", {"trial": place}, 0, words) for place in places)
    return Plan(cfg.experiment, cfg.size, paper.verb, 1, jobs, told, None, (search["figure"],), search)


def _group(cfg: DictConfig, paper: DictConfig) -> list[str]:
    """The word that files all runs of a sweep together, for a verb that logs, where nobody said otherwise."""
    logs = "wandb" in {item.name for item in fields(VERBS[paper.verb])}
    given = any(word.startswith("wandb.group=") for word in cfg.passed)
    return [f"wandb.group={folder_of(cfg).name}"] if logs and not given else []


def _fixed(paper: DictConfig, size: DictConfig | None, search: Sequence[str] = ()) -> list[str]:
    """The words that an experiment's file gives to all jobs of a size, or to all trials of a search."""
    base = [f"experiment={paper.base}"] if paper.base else []
    return [*base, *paper.overrides, *search, *(size.overrides if size else [])]


def _size(cfg: DictConfig, paper: DictConfig) -> DictConfig | None:
    """The chosen size of a paper's grid; None for a grid from the command line.

    Raises:
        GanvasError: if there is no such size, or the command lacks what it asks for.
    """
    if cfg.paper is None:
        return None
    if cfg.size not in paper.sizes:
        there = [name for name in SIZES if name in paper.sizes]
        raise GanvasError(f"size={cfg.size} is none of {', '.join(there)}, which {cfg.experiment} has.")
    size = paper.sizes[cfg.size]
    given = {word.partition("=")[0] for word in cfg.passed}
    if absent := [key for key in size.asks if key not in given]:
        raise GanvasError(f"size={cfg.size} of {cfg.experiment} needs {', '.join(f'{key}=…' for key in absent)}: "
                          f"{size.needs}.")  # fmt: skip
    return size


def _axes(paper: DictConfig, size: DictConfig | None) -> dict[str, dict[str, list[str]]]:
    """The axes of a paper's grid, with the values that this size leaves of them."""
    if size is None:
        return {}
    found = {}
    for name, axis in paper.axes.items():
        values = {str(value): [f"{axis.key}={value}"] for value in axis["values"]}
        values |= {value: list(words) for value, words in axis.bundles.items()}
        kept = list(size.axes.get(name, values))
        if unknown := [value for value in kept if value not in values]:
            raise GanvasError(f"the axis {name} has no value {unknown[0]}; it has {', '.join(values)}.")
        found[name] = {value: values[value] for value in kept}
    return found


def _axes_of_words(cfg: DictConfig, paper: DictConfig) -> dict[str, dict[str, list[str]]]:
    """The axes of the command line: options given with commas between values."""
    found = {}
    for word in cfg.passed:
        key, values = _values(paper.verb, word)
        if key in paper.seeded:
            raise GanvasError(f"`{word}`: {key} is what seeds= counts; give seeds=N.")
        if len(set(values)) < len(values):
            raise GanvasError(f"`{word}` names a value twice: name each once.")
        if len(values) > 1:
            found[key] = {value: [f"{key}={value}"] for value in values}
    return found


def _single(cfg: DictConfig, paper: DictConfig) -> list[str]:
    """The words of the command line that are the same for every job."""
    return [word for word in cfg.passed if len(_values(paper.verb, word)[1]) == 1]


def _values(verb: str, word: str) -> tuple[str, list[str]]:
    """The key of a word, and its values; text and lists are one value.

    Raises:
        GanvasError: if it is no option.
    """
    key, equals, value = word.partition("=")
    if not equals:
        raise GanvasError(f"`{word}` is not an option: write key=value, as in `ganvas {verb} --help`.")
    if key in text_keys(verb):
        return key, [value]
    try:
        parsed = OverridesParser.create().parse_override(word)
        return key, list(parsed.sweep_string_iterator()) if parsed.is_sweep_override() else [value]
    except HydraException as error:
        raise GanvasError(f"`{word}` cannot be read: write several values {key}=a,b, a list {key}=[a,b].") from error


def _combinations(axes: Axes) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Every combination of values, and the words that it stands for."""
    for chosen in itertools.product(*(values.items() for values in axes.values())):
        at = dict(zip(axes, (value for value, _ in chosen), strict=True))
        yield at, [word for _, words in chosen for word in words]


def _further(size: DictConfig | None, at: Mapping[str, str]) -> list[str]:
    """What a size adds to the jobs at some values."""
    places = [] if size is None else [f"{axis}={value}" for axis, value in at.items()]
    return [word for place in places for word in size.at.get(place, [])]


def _before(size: DictConfig | None, at: Mapping[str, str], given: Mapping[str, str]) -> dict[str, list[str]]:
    """The commands that the jobs at some values run first, by name, with the options of the sweep's command put in."""
    places = [] if size is None else [f"{axis}={value}" for axis, value in at.items()]
    return {
        name: put_in(shlex.split(command), given)
        for place in places for name, command in size.before.get(place, {}).items()
    }  # fmt: skip


def _seeded(
    paper: DictConfig, at: Mapping[str, str], words: Sequence[str], seeds: int, before: Mapping[str, Sequence[str]]
) -> Iterator[Job]:
    for seed in range(seeds):
        drawn = [f"{key}={seed}" for key in paper.seeded]
        first = {name: put_in(command, {"seed": str(seed)}) for name, command in before.items()}
        yield Job(safe_name(at, seed), at, seed, merged([*words, *drawn]), first)


def _settings(
    paper: DictConfig, combinations: Sequence[tuple[Mapping[str, Any], Sequence[str]]],
    before: Sequence[Mapping[str, Sequence[str]]] = (),
) -> str:  # fmt: skip
    """A hash of what the jobs learn from. Composes each combination, so that a mistake in a word is found here.

    Raises:
        GanvasError: for the first word that does not fit.
    """
    told = []
    for at, words in combinations:
        cfg = compose(paper.verb, [*words, "out=job"])
        kept = [word for word in words if not may_change(cfg, word.partition("=")[0].replace("/", "."))]
        told.append([at, kept])
    for commands in before:
        for verb, *words in commands.values():
            compose(verb, [*put_in(words, {"seed": "0"}), "out=job"])
    told += [dict(commands) for commands in before if commands]
    return hashlib.sha256(json.dumps([paper.verb, [*paper.seeded], told]).encode()).hexdigest()[:16]


def _shown(cfg: DictConfig, paper: DictConfig) -> Sequence[str]:
    return paper.figures if cfg.paper is not None else ()
