"""Jobs through three stages while workers and the server die: one output for each input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crash import pipeline, pool
from crash.pipeline_actor import MOMENTS, PUSHING

if TYPE_CHECKING:
    from pathlib import Path

DEATHS_OF_EACH_KIND = 20
DEATHS_OF_PRODUCERS = 5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_output_for_each_input_and_not_without_steps(tmp_path: Path) -> None:
    both = (pipeline.SHORT, pipeline.CONTROL)
    each = [{**options, "seed": 1, "scratch": str(tmp_path)} for options in both]
    result = pool.run("pipeline", each)
    print(f"\n{dict(result.counts)} in {result.seconds:.0f} s")  # noqa: T201  the figures
    assert not result.failures, result.failures[0]
    counts = result.counts
    assert counts["jobs"] == pipeline.SHORT["jobs_count"]
    assert counts["server_kills"] >= 4
    for moment in MOMENTS:
        assert counts[f"deaths.{moment}"] >= DEATHS_OF_EACH_KIND, moment
    assert sum(counts[f"deaths.{moment}"] for moment in PUSHING) >= DEATHS_OF_PRODUCERS
    assert counts["steps.repeated"], "no STEP was made whose reply was lost"
    assert counts["late_steps.refused"], "nobody came too late"
    assert counts["control.lost"] + counts["control.doubled"], "this proves nothing"


def way(number: int, *keys: str) -> str:
    stages = zip(pipeline.STAGES, keys, strict=True)
    return ">".join([str(number), *(f"{stage}:{key}" for stage, key in stages)])


def test_outputs_are_held_against_the_inputs() -> None:
    outputs = [way(0, "a", "b", "c"), way(1, "a", "d", "e"), way(1, "a", "d", "f"), "2>cut:a",
               way(9, "a", "b", "c")]  # fmt: skip
    verdict = pipeline.judge(outputs, 3)
    assert verdict.wrong == {"lost": ["2"], "doubled": ["1"], "invented": outputs[3:]}
    assert verdict.made == {"a": 3, "b": 1, "c": 1, "d": 2, "e": 1, "f": 1}
