"""Processes beside the server: what they say, how they end, and that none is left behind."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from mqd.children import Child


async def test_what_it_says_and_how_it_ends():
    source = "import sys; sys.stdout.write('x' * 300_000); sys.exit(3)"
    async with Child([sys.executable, "-S", "-c", source]) as child:
        assert await child.output() == (b"x" * 300_000, 3)
    assert child.returncode == 3


async def test_it_has_a_session_of_its_own_and_an_input_that_stays_open():
    source = (
        "import os, select; print(os.getsid(0) == os.getpid(), select.select([0], [], [], 0)[0])"
    )
    async with Child([sys.executable, "-S", "-c", source]) as child:
        assert await child.output() == (b"True []\n", 0)


async def test_one_that_is_not_waited_for_is_ended():
    async with Child(["sleep", "60"]) as child:
        assert child.returncode is None
        said = asyncio.ensure_future(child.output())
        await asyncio.sleep(0)
        said.cancel()
    assert child.returncode == -signal.SIGKILL


async def test_one_that_cannot_be_started():
    with pytest.raises(FileNotFoundError):
        Child(["/nowhere/python"])
