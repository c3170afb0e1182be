"""``ganvas report``: what may stand in one column, what a paper's rows stand beside, and what failed is not hidden."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image

from launch import cli
from launch.figures import Figure, Protocol, write_figures
from launch.reports.columns import arms, columns, lower_is_better
from launch.reports.comparison import representative
from launch.reports.published import Paper, PublishedRow
from launch.reports.runs import gather

HELDOUT = Protocol("rendered avatars", "split heldout, seed 0", 300, "critic", "ab" * 32, "inverted in 60 steps")
Place = Mapping[str, str]


def job_name(at: Place, seed: int) -> str:
    return ",".join(f"{axis}={value}" for axis, value in {**at, "seed": str(seed)}.items())


def measure(run: Path, figures: Mapping[str, float], protocol: Protocol = HELDOUT) -> None:
    """What a finished run leaves."""
    cfg = OmegaConf.create({"experiment": "a/b", "command": f"ganvas train experiment=a/b out={run}"})
    (run / "images").mkdir(parents=True, exist_ok=True)
    write_figures(run, "train", cfg, {name: Figure(value, protocol) for name, value in figures.items()}, 60.0, "a CPU")
    Image.new("RGB", (40, 30), "red").save(run / "images" / "samples-00000100.png")


class SweepFolder:
    """A sweep on disk: 2 numbers of labels, 2 heads, 2 seeds, mIoU = 0.1 labels + 0.01 seed, one more with head b."""

    def __init__(self, folder: Path, figures: tuple[str, ...] = ("mIoU",)) -> None:
        self.folder = folder
        places = [{"labels": labels, "head": head} for labels in ("4", "1") for head in ("b", "a")]
        self.jobs = [{"name": job_name(at, seed), "at": at, "seed": seed, "words": []}
                     for at in places for seed in (0, 1)]  # fmt: skip
        for job in self.jobs:
            measure(self.run(job["at"], job["seed"]), {"mIoU": self.value(job["at"], job["seed"])})
        (folder / "jobs").mkdir()
        self.write(format=1, figures=figures)

    @staticmethod
    def value(at: Place, seed: int) -> float:
        return 0.1 * int(at["labels"]) + 0.01 * seed + (0.05 if at["head"] == "b" else 0.0)

    def run(self, at: Place, seed: int) -> Path:
        return self.folder / job_name(at, seed)

    def write(self, **changes: object) -> None:
        about = {"experiment": "paper/toy", "size": "quick", "seeds": 2, "version": "0", "settings": {}, "search": None}
        record = {**about, "verb": "train", "jobs": self.jobs, **changes}
        (self.folder / "sweep.json").write_text(json.dumps(record))

    def lose(self, at: Place, seed: int, status: str | None = None, reason: str = "") -> None:
        """Take away what a job measured."""
        (self.run(at, seed) / "figures.json").unlink()
        if status is not None:
            state = {"status": status, "attempts": 2, "seconds": 1.0, "reason": reason}
            (self.folder / "jobs" / f"{job_name(at, seed)}.json").write_text(json.dumps(state))


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    folder = tmp_path / "sweep"
    folder.mkdir()
    return SweepFolder(folder)


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``report(*words) -> what is printed``."""

    def run(*words: str) -> str:
        assert cli.main(["report", *words]) == cli.OK
        return capsys.readouterr().out

    return run


def table(printed: str, first: str) -> Iterator[list[str]]:
    """The rows of the table whose header begins so, the header first."""
    lines = printed.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} "))
    for line in lines[start:]:
        if not line.startswith("|"):
            return
        if not set(line) <= set("|-: "):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def test_mean_and_deviation_over_the_seeds_in_the_order_of_the_axes(sweep: SweepFolder, report: Callable) -> None:
    header, *rows = table(report(f"runs={sweep.folder}"), "labels")
    assert header == ["labels", "head", "mIoU", "n"]
    assert [(labels, head) for labels, head, *_ in rows] == [("1", "b"), ("1", "a"), ("4", "b"), ("4", "a")]
    for labels, head, cell, n in rows:
        values = [sweep.value({"labels": labels, "head": head}, seed) for seed in (0, 1)]
        mean, deviation = map(float, cell.split(" ± "))
        assert mean == pytest.approx(statistics.fmean(values), abs=6e-4)
        assert deviation == pytest.approx(statistics.stdev(values), abs=6e-4)
        assert n == "2"


def test_the_first_sentence_has_the_best_and_the_worst_and_the_last_line_the_page(
    sweep: SweepFolder, report: Callable
) -> None:
    lines = report(f"runs={sweep.folder}").splitlines()
    assert lines[2] == ("mIoU is best with labels 4, head b: 0.455 ± 0.007 over 2 seeds; it is worst with labels 1, "
                        "head a: 0.105 ± 0.007. 8 of 8 runs are done.")  # fmt: skip
    assert lines[-1] == f"report: {sweep.folder / 'report' / 'report.html'}"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([0.50, 0.30, 0.52, 0.32], "worst with head a: 0.400 ± 0.141, which is within the deviation over the seeds. "),
        ([0.50, 0.51, 0.30, 0.31], "worst with head b: 0.305 ± 0.007. "),
        ([0.50, None, 0.49, None], "worst with head b: 0.490, which one seed cannot tell from chance. "),
    ],
)
def test_a_difference_that_may_be_chance_is_called_so(
    values: list[float | None], says: str, sweep: SweepFolder, report: Callable
) -> None:
    of_both = [job for job in sweep.jobs if job["at"]["labels"] == "4"]
    jobs = [
        {**job, "at": {"head": job["at"]["head"]}, "value": value}
        for job, value in zip(sorted(of_both, key=lambda job: job["name"].split("head=")[1]), values, strict=True)
        if value is not None
    ]
    for job in jobs:
        measure(sweep.folder / job["name"], {"mIoU": job["value"]})
    sweep.write(format=1, figures=("mIoU",), jobs=jobs)
    assert says in report(f"runs={sweep.folder}")


@pytest.mark.parametrize(
    ("change", "apart"),
    [
        ({"data": "photographs"}, ("photographs", "rendered avatars")),
        ({"split": "split train"}, ("split train", "split heldout, seed 0")),
        ({"images": 64}, ("64 images", "300 images")),
        ({"network": "inception"}, ("inception", "critic")),
        ({"generator": "cd" * 32}, ("generator cdcdcdcd", "generator abababab")),
        ({"how": "inverted in 10 steps"}, ("inverted in 10 steps", "inverted in 60 steps")),
    ],
)
def test_another_protocol_is_another_column_named_by_what_differs(
    sweep: SweepFolder, report: Callable, change: dict, apart: tuple[str, str]
) -> None:
    odd = {"labels": "1", "head": "b"}
    measure(sweep.run(odd, 0), {"mIoU": 0.9}, replace(HELDOUT, **change))
    header, first, *_ = table(report(f"runs={sweep.folder}"), "labels")
    assert header == ["labels", "head", f"mIoU ({apart[1]})", f"mIoU ({apart[0]})", "n"]
    assert first == ["1", "b", "0.160 (n=1)", "0.900 (n=1)", "2"]  # never 0.53, the mean of unlike things


def test_a_command_names_what_it_read_of_its_sweep_without_the_place(sweep: SweepFolder, report: Callable) -> None:
    path = sweep.run({"labels": "1", "head": "a"}, 0) / "figures.json"
    record = json.loads(path.read_text())
    record["command"] = f"ganvas evaluate vector=['{sweep.folder}/jobs/learned-1/vector.safetensors'] out={path.parent}"
    for name in sweep.folder.glob("*/figures.json"):
        name.write_text(json.dumps(record))
    printed = report(f"runs={sweep.folder}")
    assert "ganvas evaluate 'vector=[jobs/learned-1/vector.safetensors]'" in printed
    assert str(sweep.folder) not in printed.replace(f"report: {sweep.folder}", "")


def test_what_the_axes_vary_on_purpose_parts_no_columns(
    sweep: SweepFolder, report: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    for job in sweep.jobs:
        own = replace(HELDOUT, data=f"avatars of {job['at']['head']}")
        measure(sweep.run(job["at"], job["seed"]), {"mIoU": sweep.value(job["at"], job["seed"])}, own)
    measure(sweep.run({"labels": "1", "head": "b"}, 0), {"mIoU": 0.9}, replace(HELDOUT, data="avatars of b", images=4))
    monkeypatch.setattr("launch.report.paper", lambda _: Paper("A table", "What is it?", (), ("data",)))
    printed = report(f"runs={sweep.folder}")
    header, *rows = table(printed, "labels")
    assert header == ["labels", "head", "mIoU (300 images)", "mIoU (4 images)", "n"]   # the rest parts them still
    assert [row[2] for row in rows] == ["0.160 (n=1)", "0.105 ± 0.007", "0.455 ± 0.007", "0.405 ± 0.007"]
    for head in "ab":
        assert f"300 avatars of {head} (split heldout, seed 0)" in printed   # all are named


def test_a_figure_that_each_arm_measures_otherwise_has_a_table_of_its_own(sweep: SweepFolder, report: Callable) -> None:
    for i, job in enumerate(sweep.jobs):
        own = replace(HELDOUT, images=i // 2 + 1)
        measure(sweep.run(job["at"], job["seed"]), {"train_seconds": 10.0 + i // 2}, own)
    printed = report(f"runs={sweep.folder}", "figures=train_seconds")
    assert [row[1:] for row in table(printed, "runs")][1:] == [
        ["12.00 ± 0.00", "3 images"], ["13.00 ± 0.00", "4 images"], ["10.00 ± 0.00", "1 image"],
        ["11.00 ± 0.00", "2 images"],
    ]  # fmt: skip


def published(at: Place, value: float, protocol: Protocol) -> PublishedRow:
    return PublishedRow(at, {"mIoU": value}, {}, "A Paper (2021), Table 1", protocol)


def test_published_rows_stand_beside_ours_only_by_the_same_protocol(
    sweep: SweepFolder, report: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = replace(HELDOUT, generator=None)  # a paper's generator has no hash
    rows = (
        published({"labels": "4", "head": "a"}, 0.456, same),
        published({"labels": "16", "head": "a"}, 0.789, replace(same, data="ADE-Car-12", images=None)),
    )
    monkeypatch.setattr("launch.report.paper", lambda _: Paper("A table", "What is it?", rows))
    printed = report(f"runs={sweep.folder}", "latex=true")
    header, *ours = table(printed, "labels")
    assert header == ["labels", "head", "mIoU", "mIoU, published", "n"]
    assert [row[3] for row in ours] == ["-", "-", "-", "0.456"]
    assert "0.789" not in "".join(map(str, ours))
    assert "| 16     | a    | 0.789 | ADE-Car-12 (split heldout, seed 0)" in printed
    assert "not comparable" in printed
    assert "Published by the same protocol: A Paper (2021), Table 1." in printed
    assert r"4 & a & $0.405 \pm 0.007$ & 0.456 & 2 \\" in (sweep.folder / "report" / "rows.tex").read_text()


def test_a_page_of_pictures_shows_more_of_each(
    sweep: SweepFolder, report: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    for job in sweep.jobs:
        Image.new("RGB", (200, 900), "black").save(sweep.run(job["at"], job["seed"]) / "images" / "edits.png")
    shown = {}
    for height in (None, 700):
        found = Paper("A page", "What do they look like?", (), (), height)
        monkeypatch.setattr("launch.report.paper", lambda _, found=found: found)
        report(f"runs={sweep.folder}")
        shown[height] = Image.open(sweep.folder / "report" / "images" / "edits.png").height
    assert shown[700] == shown[None] + 400


@pytest.mark.parametrize("aspect", ["data", "split", "images", "network", "how"])
def test_one_aspect_is_enough_to_be_not_comparable(sweep: SweepFolder, aspect: str) -> None:
    (gathered,) = gather(sweep.folder)
    (column,) = columns(gathered.done, ["mIoU"])
    other = replace(HELDOUT, generator=None, **{aspect: 7 if aspect == "images" else "other"})
    row = published({"labels": "4"}, 0.5, other)
    assert row.differs(*column.protocols) == [aspect]
    assert Paper("", "", (row,)).apart([column]) == [row]


def test_what_is_not_done_is_shown_with_its_reason(sweep: SweepFolder, report: Callable) -> None:
    at = [{"labels": labels, "head": head} for labels in ("1", "4") for head in ("a", "b")]
    sweep.lose(at[0], 1, "failed", "out of memory: lower task.head.members and run the command again.")
    sweep.lose(at[1], 1, "running")  # whose process is gone
    sweep.lose(at[2], 1)
    (sweep.run(at[3], 1) / "figures.json").write_text('{"format": 1, "verb"')
    (sweep.run(at[3], 0) / "figures.json").write_text('{"format": 99}')
    printed = report(f"runs={sweep.folder}")
    states = {run: (state, why) for run, state, why in [*table(printed, "run")][1:]}
    assert states[job_name(at[0], 1)] == ("failed", "out of memory: lower task.head.members and run the command again.")
    assert states[job_name(at[1], 1)] == ("stopped", "it was killed")
    assert states[job_name(at[2], 1)] == ("missing", "-")
    assert states[job_name(at[3], 1)][0] == states[job_name(at[3], 0)][0] == "unreadable"
    assert "is damaged" in states[job_name(at[3], 1)][1]
    assert "is of format 99 and this version reads 1" in states[job_name(at[3], 0)][1]
    assert "3 of 8 runs are done." in printed
    assert [row[2:] for row in table(printed, "labels")][1:] == [
        ["0.150", "1"], ["0.100", "1"], ["-", "0"], ["0.400", "1"],
    ]  # fmt: skip


def test_the_pages_hold_everything_and_the_same_runs_give_the_same_bytes(
    sweep: SweepFolder, report: Callable, tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for out in (one, other):
        report(f"runs={sweep.folder}", f"out={out}", "latex=true")
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert all((one / path).read_bytes() == (other / path).read_bytes() for path in files)
    markdown, html = (one / "report.md").read_text(), (one / "report.html").read_text()
    linked = re.findall(r"!\[[^]]+\]\(([^)]+)\)", markdown)
    assert set(linked) == {"images/1-miou.png", "images/samples.png"}
    assert {str(path) for path in files if path.suffix == ".png"} == set(linked)
    assert len(re.findall('src="data:image/png;base64,', html)) == len(linked)
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert "**0.455 ± 0.007**" in markdown
    assert "<b>0.455 ± 0.007</b>" in html
    assert str(tmp_path) not in markdown + html  # a page may be published


def test_any_folder_of_runs_is_placed_by_what_differs(tmp_path: Path, report: Callable) -> None:
    there = ((1, "linear", 0, 0), (1, "linear", 0, 1), (8, "default", 64, 0), (8, "linear", 0, 0))
    for labels, kind, width, seed in there:
        run = tmp_path / "nested" / f"{labels}-{kind}-{seed}"
        measure(run, {"mIoU": 0.1 * labels + 0.01 * seed, "n": 4.0, "IoU hair": 0.5})
        task = {"labels": labels, "head": {"kind": kind, "width": width}, "label_seed": seed}
        OmegaConf.save({"experiment": "a/b", "out": str(run), "seed": 7, "trainer": {"devices": labels}, "task": task},
                       run / "config.yaml")  # fmt: skip
    (tmp_path / "nested" / "1-linear-0" / "wandb" / "files").mkdir(parents=True)
    (tmp_path / "nested" / "1-linear-0" / "wandb" / "files" / "config.yaml").write_text("a: 1")
    half = tmp_path / "half"
    half.mkdir()
    (half / "config.yaml").write_text("experiment: a/b\nseed: [")
    printed = report(f"runs={tmp_path}")
    header, *rows = table(printed, "task.head.kind")
    assert header == ["task.head.kind", "task.labels", "mIoU", "n"]  # the width tells no more than the kind
    assert rows == [
        ["default", "8", "0.800", "1"], ["linear", "1", "0.105 ± 0.007", "2"], ["linear", "8", "0.800", "1"],
    ]  # fmt: skip
    assert re.search(r"\| half \| unreadable \| config.yaml cannot be read: while parsing", printed)


def test_sweeps_and_runs_of_one_folder_are_told_apart(sweep: SweepFolder, report: Callable) -> None:
    single = sweep.folder.parent / "single"
    measure(single, {"psnr": 30.0})
    OmegaConf.save({"experiment": "a/b"}, single / "config.yaml")
    printed = report(f"runs={sweep.folder.parent}")
    assert printed.startswith(f"Runs of {sweep.folder.parent.name}\n")
    assert "8 of 8 runs are done." in printed
    assert "psnr is 30.00 over 1 seed. 1 of 1 runs is done." in printed


def test_a_run_that_is_not_finished_says_so(tmp_path: Path, report: Callable) -> None:
    for name in ("done", "young", "old"):
        (tmp_path / name).mkdir()
        OmegaConf.save({"experiment": "a/b"}, tmp_path / name / "config.yaml")
    measure(tmp_path / "done", {"mIoU": 0.5})
    (tmp_path / "old" / "report.md").touch()
    reasons = {row[0]: row[2] for row in table(report(f"runs={tmp_path}"), "run ")}
    assert reasons["young"] == "it is not finished: its command goes on with it"
    assert reasons["old"] == "it has no figures.json, as runs of older versions: its command writes one"


def refusals() -> list[tuple[str, Callable[[SweepFolder], str | None], str]]:
    def nothing_done(sweep: SweepFolder) -> None:
        for job in sweep.jobs:
            sweep.lose(job["at"], job["seed"], "failed", "no room.")

    def another_format(sweep: SweepFolder) -> None:
        sweep.write(format=2, figures=[])

    def damaged(sweep: SweepFolder) -> None:
        (sweep.folder / "sweep.json").write_text('{"form')

    def empty(sweep: SweepFolder) -> str:
        (sweep.folder.parent / "empty").mkdir()
        return str(sweep.folder.parent / "empty")

    return [
        ("none done", nothing_done, r"none of the 8 runs .*; labels=4,head=b,seed=0 is failed: no room.$"),
        ("other format", another_format, r"sweep.json is of format 2 and this version reads 1"),
        ("damaged", damaged, r"sweep.json is damaged"),
        ("empty", empty, r"empty holds no runs: give a sweep's folder, or one with runs"),
        ("no folder", lambda _: "/no/such", r"runs=/no/such is no folder"),
    ]


@pytest.mark.parametrize(("spoil", "says"), [row[1:] for row in refusals()], ids=[row[0] for row in refusals()])
def test_what_has_no_report_is_one_sentence(
    sweep: SweepFolder, capsys: pytest.CaptureFixture[str], spoil: Callable, says: str
) -> None:
    folder = spoil(sweep) or sweep.folder
    assert cli.main(["report", f"runs={folder}"]) == cli.REFUSED
    (sentence,) = capsys.readouterr().err.splitlines()
    assert re.search(says, sentence)
    assert not (Path(folder) / "report").exists()


def test_a_figure_that_no_run_has_is_refused_if_asked_for_and_said_if_not(
    sweep: SweepFolder, report: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", f"runs={sweep.folder}", "figures=[mIoU,kid]"]) == cli.REFUSED
    assert capsys.readouterr().err == "ganvas: no run measured kid: choose of mIoU.\n"
    sweep.write(format=1, figures=["kid", "mIoU"])  # as the experiment's file may say
    printed = report(f"runs={sweep.folder}")
    assert "No run measured kid; there are mIoU." in printed
    assert next(table(printed, "labels")) == ["labels", "head", "mIoU", "n"]


def test_figures_that_are_not_numbers_are_left_out_of_the_mean(sweep: SweepFolder, report: Callable) -> None:
    measure(sweep.run({"labels": "1", "head": "b"}, 0), {"mIoU": math.nan})
    _, first, *_ = table(report(f"runs={sweep.folder}"), "labels")
    assert first == ["1", "b", "0.160 (n=1)", "2"]


def test_the_picture_of_an_arm_is_the_last_of_the_one_that_tells_most(sweep: SweepFolder) -> None:
    for job in sweep.jobs:
        for name in ("coverage", "labelled", "samples-00000200", "inverted-held-out-images"):
            if name != "inverted-held-out-images" or job["at"]["head"] == "a":
                Image.new("RGB", (4, 4)).save(sweep.run(job["at"], job["seed"]) / "images" / f"{name}.png")
    name, files = representative(arms(gather(sweep.folder)[0]))
    assert name == "samples"  # which all arms have
    assert {file.name for file in files.values()} == {"samples-00000200.png"}
    first = {job["name"] for job in sweep.jobs if job["seed"] == 0}
    assert {file.parent.parent.name for file in files.values()} == first


@pytest.mark.parametrize(
    ("name", "lower"),
    [("mIoU", False), ("kid_efficientnet", True), ("psnr", False), ("train_seconds", True), ("top1_error", True)],
)
def test_less_is_better_of_distances_and_times(name: str, lower: bool) -> None:
    assert lower_is_better(name) == lower
