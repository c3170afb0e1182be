"""A paper's experiment as data: ``conf/experiment/paper/<name>.yaml``, what `ganvas sweep` runs.

A grid over existing experiments, in several sizes, with the rows that the paper published beside it. Such a file is in
``@package paper`` and takes ``paper_schema`` into it, so that Hydra checks it against :class:`PaperConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from launch.options import MANDATORY, option

SIZES = ("quick", "zoo", "full")


@dataclass
class AxisConfig:
    """One direction of the grid: the values of an option, or named bundles of several words."""

    key: str | None = option(None, "the option that `values` are of")
    values: list[Any] = option(list, "its values")
    bundles: dict[str, list[str]] = option(dict, "or: name of a value -> the words of the command that it stands for")


@dataclass
class SizeConfig:
    """How much of the grid is run, and on what."""

    axes: dict[str, list[str]] = option(dict, "axis -> the values that are left; an axis not named keeps all")
    overrides: list[str] = option(list, "words that every job of this size gets")
    at: dict[str, list[str]] = option(dict, "axis=value -> further words of the jobs there")
    before: dict[str, dict[str, str]] = option(
        dict, "axis=value -> name -> a command, without out=, that each job there runs first; {seed} is the job's "
        "seed, {key} what the sweep's command gives for an option, and {name} an earlier command's folder, in the "
        "job's words too"
    )  # fmt: skip
    asks: list[str] = option(list, "options that the command must give, such as generator and images")
    seeds: int = option(2, "how many seeds where seeds= says nothing")
    minutes: float | None = option(None, "to expect of all jobs at that many seeds on one core; null: unmeasured")
    needs: str = option(MANDATORY, "what it takes: cores or GPUs, data")


@dataclass
class PublishedProtocolConfig:
    """How the paper measured; the fields are those of ``launch.figures.Protocol``."""

    data: str = option(MANDATORY, "which images")
    split: str = option("", "which part of them")
    images: int | None = option(None, "how many; null if the paper does not say")
    network: str | None = option(None, "feature network or judge")
    how: str = option("", "what else must agree")


@dataclass
class PublishedConfig:
    """One row of the paper's table."""

    at: dict[str, str] = option(dict, "axis -> value; an axis not named is one that the paper does not have")
    figures: dict[str, float] = option(MANDATORY, "figure -> value, under our name and in our unit")
    deviations: dict[str, float] = option(dict, "figure -> standard deviation, where the paper gives one")
    source: str = option(MANDATORY, "paper, table or figure with its number, page or section")
    protocol: PublishedProtocolConfig = option(PublishedProtocolConfig, "how it was measured")


@dataclass
class ParameterConfig:
    """One option that a search varies: a range, or choices."""

    low: float | None = option(None, "least value")
    high: float | None = option(None, "greatest value")
    log: bool = option(False, "draw by orders of magnitude")
    whole: bool = option(False, "whole numbers only")
    choices: list[Any] = option(list, "or: the values to choose from")


@dataclass
class SearchConfig:
    """What `sweeper=optuna` looks for."""

    space: dict[str, ParameterConfig] = option(MANDATORY, "option -> where its value may lie")
    figure: str = option(MANDATORY, "the figure that decides")
    direction: str = option("maximize", "maximize or minimize")
    overrides: list[str] = option(list, "words that every trial gets, below the size's")
    pruned_by: str | None = option(None, "the name in metrics.jsonl by which hopeless trials are stopped")


@dataclass
class PaperConfig:
    """An experiment of a paper."""

    title: str = option(MANDATORY, "of the table")
    question: str = option(MANDATORY, "what it answers, in one sentence")
    verb: str = option("train", "the verb that its jobs are commands of")
    base: str | None = option(None, "the experiment that every job starts from; null for a verb without experiments")
    overrides: list[str] = option(list, "words that every job gets, whatever the size")
    axes: dict[str, AxisConfig] = option(MANDATORY, "name -> the values of the grid along it")
    seeded: list[str] = option(lambda: ["seed"], "the options that are set to a job's seed")
    figures: list[str] = option(MANDATORY, "what the table shows, by the names in figures.json")
    varied: list[str] = option(
        list, "aspects of the protocol (data, how, ...) that the axes vary on purpose: they part no columns"
    )  # fmt: skip
    height: int | None = option(
        None, "pixels, from above, of each picture that the report shows, where two rows of it are too few"
    )  # fmt: skip
    sizes: dict[str, SizeConfig] = option(MANDATORY, "quick, zoo and full")
    published: list[PublishedConfig] = option(list, "the paper's own rows")
    search: SearchConfig | None = option(None, "what sweeper=optuna varies instead of the axes")


SCHEMAS = {"experiment/paper": PaperConfig}
