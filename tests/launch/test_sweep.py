"""``ganvas sweep`` around jobs that a test plays: what is run, tried again, left out, named and kept."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir

from launch import cli, sweep_job, sweep_state
from launch.compose import compose
from launch.figures import Protocol, all_by, write_figures
from launch.paths import CONF
from launch.schemas import register
from launch.sweep_plan import Job
from launch.sweep_state import DONE, FAILED, STOPPED, Sweep

GRID = ["sweep", "experiment=paper/editgan_labels", "seeds=2"]
NAMES = [f"labels={labels},head=linear,seed={seed}" for labels in (1, 2) for seed in (0, 1)]
FAILS, STOPS, CRASHES = "fails", "stops", "crashes"
TOYS = all_by(Protocol("toys", "", 1), {"mIoU": 0.5})

Play = Callable[..., list[str]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """``play(**what)``: jobs do ``what`` by name, or else succeed; gives the list in which they enter themselves."""
    cfg = compose("train", ["task.name=toy"])

    def prepare(**what: str) -> list[str]:
        ran: list[str] = []

        def run(command: list[str], sweep: Sweep, name: str, watch: object) -> int:
            ran.append(name)
            with sweep.log_of(name).open("a") as log:
                log.write(f"\n{sweep_job.PROMPT}{' '.join(command[3:])}\n")
                if what.get(name) == FAILS:
                    log.write("ganvas: the dog ate it.\n")
            if what.get(name) == STOPS:
                raise KeyboardInterrupt
            if what.get(name):
                return {FAILS: 2, CRASHES: -9}[what[name]]
            figures = all_by(Protocol("toys", "", 1), {"mIoU": 0.5})
            write_figures(sweep.run_of(name), "train", cfg, figures, 1.0, "a machine")
            return 0

        monkeypatch.setattr(sweep_job, "_run", run)
        return ran

    return prepare


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    (said,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("ganvas: "))
    return said


def test_every_job_runs_once_and_a_finished_sweep_does_nothing(
    play: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = play()
    assert cli.main([*GRID, f"out={tmp_path / 's'}"]) == cli.OK
    assert ran == NAMES
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if ": done in " in line and line.endswith("mIoU 0.5")] == printed[:4]
    assert printed[4:] == ["jobs done: 4 of 4", f"sweep: {tmp_path / 's'}"]
    assert cli.main([*GRID, f"out={tmp_path / 's'}"]) == cli.OK
    assert ran == NAMES


def test_more_seeds_run_what_is_missing(play: Play, tmp_path: Path) -> None:
    ran = play()
    assert cli.main(["sweep", "experiment=paper/editgan_labels", "seeds=1", f"out={tmp_path}"]) == cli.OK
    assert cli.main([*GRID, f"out={tmp_path}"]) == cli.OK
    assert ran == [NAMES[0], NAMES[2], NAMES[1], NAMES[3]]


def test_a_failing_job_is_tried_twice_and_named_and_the_others_are_kept(
    play: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = play(**{NAMES[1]: FAILS, NAMES[2]: CRASHES})
    assert cli.main([*GRID, f"out={tmp_path}"]) == cli.REFUSED
    assert ran == [NAMES[0], NAMES[1], NAMES[1], NAMES[2], NAMES[2], NAMES[3]]
    said = sentence(capsys)
    assert f"2 of 4 jobs failed, each tried twice ({NAMES[1]}: the dog ate it; {NAMES[2]}: it was ended by SIGK" in said
    assert "what the others found is kept, and the same command tries these again" in said
    sweep = Sweep(tmp_path)
    assert [sweep.status(name).status for name in NAMES] == [DONE, FAILED, FAILED, DONE]
    assert sweep.status(NAMES[1]).attempts == 2
    ran = play()
    assert cli.main([*GRID, f"out={tmp_path}"]) == cli.OK
    assert ran == [NAMES[1], NAMES[2]]
    assert sweep.status(NAMES[1]).attempts == 3


def test_commands_before_a_job_run_first_and_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg, ran, broken = compose("train", ["task.name=toy"]), [], {"samples"}
    job = "teacher=branch,seed=0"

    def run(command: list[str], sweep: Sweep, name: str, watch: object) -> int:
        words = dict(word.split("=", 1) for word in command[4:])
        out = Path(words["out"])
        ran.append((command[3], out.name, words))
        sweep.log_of(name).touch()
        if out.name.partition("-")[0] in broken:
            return 2
        write_figures(out, command[3], cfg, TOYS, 1.0, "a machine")
        return 0

    monkeypatch.setattr(sweep_job, "_run", run)
    words = ["sweep", "experiment=paper/distill", f"out={tmp_path / 's'}"]
    assert cli.main(words) == cli.REFUSED
    branch, samples, again = (name for _, name, _ in ran[:3])
    assert branch.startswith("branch-")
    assert samples == again
    assert len(ran) == 5  # the other two jobs have nothing before them
    ran.clear()
    broken.clear()
    assert cli.main(words) == cli.OK
    assert [(verb, name) for verb, name, _ in ran] == [("synthesize", samples), ("train", job)]
    jobs = tmp_path / "s" / "jobs"
    assert ran[0][2]["segmentation"] == f"{jobs / branch}/export/segmentation.safetensors"
    assert ran[1][2]["data.folder"] == str(jobs / samples)
    capsys.readouterr()
    assert cli.main([*words, "dry_run=true"]) == cli.OK
    assert f"ganvas synthesize segmentation={jobs / branch}/" in capsys.readouterr().out


def test_jobs_with_the_same_command_before_them_share_what_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, ran = compose("train", ["task.name=toy"]), []

    def run(command: list[str], sweep: Sweep, name: str, watch: object) -> int:
        words = dict(word.split("=", 1) for word in command[4:])
        ran.append(words)
        sweep.log_of(name).touch()
        write_figures(Path(words["out"]), command[3], cfg, TOYS, 1.0, "a machine")
        return 0

    monkeypatch.setattr(sweep_job, "_run", run)
    assert cli.main(["sweep", "experiment=paper/editgan_out_of_domain", "seeds=2", f"out={tmp_path}"]) == cli.OK
    learned = [words for words in ran if "vector" not in words]
    assert [words["seed"] for words in learned] == ["0", "1"]   # once for each seed, not for each of 4 jobs
    jobs = [words for words in ran if "vector" in words]
    assert len(jobs) == 4
    for words in jobs:
        assert words["vector"] == f"['{learned[int(words['seed'])]['out']}/vector.safetensors']"


def test_a_job_waits_while_another_process_runs_what_both_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, ran = compose("train", ["task.name=toy"]), []
    sweep = Sweep(tmp_path)
    job = Job("a", {}, 0, ("vector={learned}",), {"learned": ["evaluate", "n=2"]})
    out = Path(sweep.before_of(job)["learned"])
    looks = iter([False, True])

    def run(command: list[str], sweep: Sweep, name: str, watch: object) -> int:
        ran.append(command)
        write_figures(sweep.run_of(name), command[3], cfg, TOYS, 1.0, "a machine")
        return 0

    monkeypatch.setattr(sweep_state, "MOMENT", 0.0)
    monkeypatch.setattr(sweep_job, "_run", run)
    with Sweep(tmp_path).hold(out.name), pytest.raises(sweep_job.Stopped):   # until it is told to stop
        sweep_job.run_command(sweep, "a", "evaluate", job.words, lambda: next(looks), job)
    assert not ran
    write_figures(out, "evaluate", cfg, TOYS, 1.0, "a machine")
    sweep_job.run_command(sweep, "a", "evaluate", job.words, None, job)
    (command,) = ran
    assert f"vector={out}" in command


def test_a_job_that_ends_well_without_figures_has_failed(play: Play, tmp_path: Path, monkeypatch) -> None:
    play()
    monkeypatch.setattr(sweep_job, "_run", lambda command, sweep, name, watch: sweep.log_of(name).touch() or 0)
    assert cli.main([*GRID, f"out={tmp_path}"]) == cli.REFUSED
    assert Sweep(tmp_path).status(NAMES[0]).reason == "it ended with exit status 0"


def test_ctrl_c_says_how_far_it_is_and_the_same_command_goes_on(
    play: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play(**{NAMES[1]: STOPS})
    assert cli.main([*GRID, f"out={tmp_path}"]) == cli.INTERRUPTED
    assert sentence(capsys) == "ganvas: stopped with 1 of 4 jobs done; the same command goes on."
    assert Sweep(tmp_path).status(NAMES[1]).status == STOPPED
    ran = play()
    assert cli.main([*GRID, f"out={tmp_path}"]) == cli.OK
    assert ran == NAMES[1:]


def test_jobs_that_start_after_a_stop_do_nothing(play: Play, tmp_path: Path) -> None:
    ran = play()
    assert cli.main([*GRID, f"out={tmp_path}"]) == cli.OK
    shutil.rmtree(tmp_path / NAMES[0])
    Sweep(tmp_path).stop_file.touch()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        sweep_job.run_job(hydra_compose("sweep", [f"out='{tmp_path}'", f"job='{NAMES[0]}'"]))
    assert ran == NAMES


def test_a_full_disk_keeps_what_is_finished(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play()
    write = Path.write_text

    def full(self: Path, *arguments: object, **options: object) -> int:
        if NAMES[2] in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    assert cli.main([*GRID, f"out={tmp_path}"]) == cli.REFUSED
    assert "No space left on device; choose another folder or free some space" in sentence(capsys)
    monkeypatch.setattr(Path, "write_text", write)
    sweep = Sweep(tmp_path)
    assert [sweep.status(name).status for name in NAMES[:2]] == [DONE, DONE]
    ran = play()
    assert cli.main([*GRID, f"out={tmp_path}"]) == cli.OK
    assert NAMES[0] not in ran


def test_a_dry_run_lists_commands_and_costs_and_writes_nothing(
    play: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran, out = play(), tmp_path / "s"
    words = [*GRID, f"out={out}"]
    assert cli.main([*words, "dry_run=true"]) == cli.OK
    assert not out.exists()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5
    assert printed[0].startswith("  about 15 s  missing  ganvas train experiment=segmentation/avatars16 ")
    assert printed[0].endswith(f"out={out / NAMES[0]}")
    assert printed[-1] == "4 jobs, 0 done; what is missing takes about 1 min one after another."
    assert cli.main(words) == cli.OK
    capsys.readouterr()
    assert cli.main([*words, "dry_run=true"]) == cli.OK
    printed = capsys.readouterr().out.splitlines()
    assert " done " in printed[0]
    assert printed[-1].startswith("4 jobs, 4 done; what is missing takes about 0 s")
    assert ran == NAMES


def test_two_sweeps_do_not_write_into_one_folder(
    play: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = play()
    with Sweep(tmp_path).hold() as mine:
        assert mine
        assert cli.main([*GRID, f"out={tmp_path}"]) == cli.REFUSED
    assert "another sweep is writing into" in sentence(capsys)
    assert ran == []


def test_a_job_that_another_process_holds_is_left_to_it(
    play: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = play()
    with Sweep(tmp_path).hold(NAMES[1]):
        assert cli.main([*GRID, f"out={tmp_path}"]) == cli.REFUSED
    assert "1 jobs are still running in other processes: run the same command once they have ended" in sentence(capsys)
    assert ran == [NAMES[0], *NAMES[2:]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["launcher=submitit_slurm"], "launcher=submitit_slurm needs SLURM, and there is no `sbatch` on this machine"),
        (["launcher.partition=gpu"], "`launcher.partition` is an option of launcher=submitit_slurm"),
        (["launcher=clouds"], "there is no launcher `clouds`"),
        (["seeds=0"], "seeds=0 leaves nothing to run"),
    ],
)
def test_what_cannot_be_launched_is_one_sentence_and_leaves_nothing(
    words: list[str], said: str, play: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    play()
    monkeypatch.setenv("PATH", str(tmp_path))  # no SLURM there, whatever the machine has
    assert cli.main(["sweep", "experiment=paper/editgan_labels", *words, f"out={tmp_path / 's'}"]) == cli.REFUSED
    assert said in sentence(capsys)
    assert not (tmp_path / "s").exists()


def test_slurm_s_settings_reach_submitit() -> None:
    register()
    words = ["launcher=submitit_slurm", "launcher.partition=gpu", "launcher.gpus=2", "launcher.minutes=240",
             "launcher.memory_gb=32", "launcher.requeue=5", "launcher.at_once=4", "out=/s"]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base="1.3"):
        found = hydra_compose("sweep", words, return_hydra_config=True).hydra.launcher
        wanted = {
            "partition": "gpu", "gpus_per_node": 2, "timeout_min": 240, "mem_gb": 32, "max_num_timeout": 5,
            "array_parallelism": 4, "additional_parameters": {"requeue": True},
        }  # fmt: skip
        assert {key: found[key] for key in wanted} == wanted
        assert found._target_.endswith("SlurmLauncher")


def test_a_launcher_that_gives_up_is_one_sentence(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play()

    class Lost:
        def launch(self, job_overrides: object, initial_job_idx: int) -> None:
            raise RuntimeError("a node was lost.\nand a page of text")

    monkeypatch.setattr("hydra.core.plugins.Plugins.instantiate_launcher", lambda *_, **__: Lost())
    assert cli.main([*GRID, f"out={tmp_path}"]) == cli.REFUSED
    assert "the launcher gave up (a node was lost); what is done is kept, and the same command" in sentence(capsys)
