"""What deploy/Dockerfile says, carried out in a root of its own, since no engine is asked for.

It builds a virtual environment as the Dockerfile does, which takes its time: nothing less
would show that the package can be installed from what is copied, by what the file says.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from support import image_root
from support.server import ROOT


def why_not() -> str | None:
    if os.geteuid():
        return "overlays need root: run this as root"
    for program in ("unshare", "setpriv", "chroot"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    tried = subprocess.run(
        [*image_root.PREFIX, "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True, check=False,
    )  # fmt: skip
    return "nothing can be mounted here" if tried.returncode else None


def test_the_image_serves_without_root_without_capabilities_and_read_only(tmp_path):
    if why := why_not():
        pytest.skip(why)
    done = subprocess.run(
        [*image_root.PREFIX, sys.executable, image_root.__file__, str(ROOT), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen == {
        "uid": "7500",
        "capabilities": ["0000000000000000"],
        "create": 0,
        "write outside": "Read-only file system",
        "names of the owner": ["address.json", "state"],
        "token": True,
        "gateway's end": 0,
        "server's end": 0,
        "after the end": ["state"],
    }
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith("stopped")
