"""The benchmark of the custom ops: its cases compute the same in every form, and it runs to its JSON line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import ops
from benchmarks.ops_core import cases


def test_every_form_of_a_case_gives_the_same() -> None:
    torch.manual_seed(0)
    for case in cases("cpu", torch.float32, largest=64):
        for other in case.others.values():
            torch.testing.assert_close(case.ours(case.x[:1]), other(case.x[:1]), rtol=1e-4, atol=1e-4)
        assert case.moved > case.x[0].numel()


def test_the_whole_runs_and_names_what_was_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = next(cases("cpu", torch.float32, largest=64))
    small = ops.OpCase(first.op, first.name, first.x[:1, :4, :8, :8], lambda x: x.relu(), {"plain": lambda x: x.relu()})
    monkeypatch.setattr(ops, "cases", lambda *_: [small])
    monkeypatch.setattr(ops, "convolutions", lambda *_: {"modulated_conv2d_cpu_ratio": 2.0})
    monkeypatch.setattr(ops, "blobs", lambda *_: {"blob_splat_cpu_ratio": 3.0})
    threads = torch.get_num_threads()
    assert ops.main(["--quick", "--out", str(tmp_path / "ops.json")]) == 0
    torch.set_num_threads(threads)
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["bias_act_vs_plain"] > 0
    assert figures["blob_splat_cpu_ratio"] == 3.0
    assert figures["bias_act_vs_nvidia"] is figures["generator_ratio"] is figures["cold_build_s"] is None
    assert [row["order"] for row in figures["rows"]] == ["forward", "both", "second"]
    assert "bias_act" in (tmp_path / "ops.md").read_text()
