"""`mqclient/ctl/stories.py`: what a message has been through."""

from __future__ import annotations

import pytest

from mqclient.ctl.stories import chapters, own_frames

HEAD = "Traceback (most recent call last):"
OWN = ['  File "/home/ann/train.py", line 3, in <module>', "    train(job.body)", "    ^^^^^"]
TORCH = ['  File "/home/ann/mq/lib/python3.11/site-packages/torch/nn.py", line 9, in f', "    g()"]
OURS = [
    '  File "/opt/mq/lib/python3.11/site-packages/mqclient/jobs.py", line 7, in body',
    "    x()",
]
PYTHON = [
    '  File "/usr/lib/python3.11/json/decoder.py", line 340, in decode',
    "    raise X",
    "    ^^",
]
LAST = "ValueError: no"
CHAIN = ["", "During handling of the above exception, another exception occurred:", ""]


def left_out(count: str) -> str:
    return f"({count} of Python and of mqclient left out; --full shows all)"


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ([HEAD, *OWN, LAST], [HEAD, *OWN, LAST]),
        ([HEAD, *OWN, *OURS, *PYTHON, LAST], [HEAD, *OWN, LAST, left_out("2 frames")]),
        ([HEAD, *OURS, *OWN, *TORCH, LAST], [HEAD, *OWN, *TORCH, LAST, left_out("1 frame")]),
        # Nothing of the user's: something has to say where it was.
        ([HEAD, *OURS, *PYTHON, LAST], [HEAD, *OURS, *PYTHON, LAST]),
        (
            [HEAD, *PYTHON, "  [Previous line repeated 9 more times]", LAST, *CHAIN, HEAD, *OWN, LAST],
            [HEAD, LAST, *CHAIN, HEAD, *OWN, LAST, left_out("1 frame")],
        ),
        (["exit code 3: no"], ["exit code 3: no"]),
        # A long reason is cut at its beginning, in the middle of a frame.
        (['train.py", line 3', "    f()", *OURS, *OWN, LAST],
         ['train.py", line 3', "    f()", *OWN, LAST, left_out("1 frame")]),
        ([], []),
    ],
)  # fmt: skip
def test_frames_that_are_not_the_users_are_left_out(reason, shown):
    assert own_frames(reason) == shown


def delivery(reason: str) -> dict[str, object]:
    return {"owner": "a", "leased_at": 1.0, "ended_at": 2.0, "cause": "nack", "reason": reason}


def test_a_reason_is_not_told_again_and_again(make_message):
    same = "\n".join([HEAD, *OWN, LAST]) + "\n"
    history = [delivery(reason) for reason in (same, same, "other\nreason", same)]
    message = make_message(1, "jobs", deliveries=5, history=history)
    short = chapters(message, full=False)
    assert short.count(f"  | {LAST}") == 2
    assert short.count("  | (the same as of delivery 2)") == 1
    assert short[1] == "of the first 1 delivery nothing is known any more"
    assert chapters(message, full=True).count(f"  | {LAST}") == 3


def test_a_short_reason_is_told_each_time(make_message):
    message = make_message(1, "jobs", deliveries=2, history=[delivery("no GPU")] * 2)
    assert chapters(message, full=False).count("  | no GPU") == 2
