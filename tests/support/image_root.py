"""Runs what deploy/Dockerfile says, without an engine, in a root of its own.

The root is this machine's, as the lower layer of an overlay: it stands for the image that
the Dockerfile starts from. Instructions are carried out in it: COPY copies what .dockerignore
lets through, RUN runs, ENV, USER and WORKDIR hold for what follows. Two stages share the
root, so that what a stage does not copy is not found out. Afterwards it is read-only, and
what runs in it has no capability, a network of its own and the process id 1.

    unshare --mount --propagation private python image_root.py CHECKOUT SCRATCH

prints what it saw as JSON, for `test_image.py`. What it is not: a container.
"""

from __future__ import annotations

import ctypes
import fcntl
import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import argon2
import yaml

_COMMAND_SECONDS = 120
_PATIENCE_SECONDS = 30
PREFIX = ("unshare", "--mount", "--propagation", "private")
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1


@dataclass(frozen=True)
class Instruction:
    """A line of a Dockerfile."""

    word: str
    rest: str


def instructions(text: str) -> list[Instruction]:
    """Read a Dockerfile."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(None, 1)) for line in whole.splitlines()]


def let_through(name: str, ignored: list[str]) -> bool:
    """Tell whether .dockerignore lets a file of the checkout into the build."""
    is_in = True
    for line in ignored:
        pattern = line.lstrip("!").rstrip("/")
        tails = (pattern, f"{pattern}/*")
        if pattern.startswith("**/"):
            tails = (*tails, pattern[3:], f"{pattern[3:]}/*")
        if any(fnmatch.fnmatch(name, tail) for tail in tails):
            is_in = line.startswith("!")
    return is_in


@dataclass
class Root:
    """A root file system, and what holds for commands in it."""

    path: Path
    checkout: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = "0:0"
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def build(self, given: dict[str, str]) -> None:
        """Carry the Dockerfile out; `given` are environment variables of its RUNs alone."""
        for each in instructions((self.checkout / "deploy/Dockerfile").read_text()):
            getattr(self, f"_{each.word.lower()}")(each.rest, given)

    def _arg(self, rest: str, _given: dict[str, str]) -> None:
        name, _, value = rest.partition("=")
        self.arguments[name] = value

    def _from(self, rest: str, _given: dict[str, str]) -> None:
        assert rest.startswith("python:${PYTHON_VERSION}-slim"), rest
        # What the image brings: Python's directory in PATH.
        self.environment = {"PATH": f"{Path(sys.base_prefix)}/bin:{os.defpath}:/usr/sbin:/sbin"}
        self.directory, self.user = "/", "0:0"

    def _workdir(self, rest: str, _given: dict[str, str]) -> None:
        self.directory = rest
        self.inside(rest).mkdir(parents=True, exist_ok=True)

    def _copy(self, rest: str, _given: dict[str, str]) -> None:
        if rest.startswith("--from=build "):
            _, source, target = rest.split()
            assert source == target, "the stages share their root"
            return
        *sources, target = rest.split()
        ignored = (self.checkout / ".dockerignore").read_text().splitlines()
        ignored = [line for line in ignored if line and not line.startswith("#")]
        for source in sources:
            for path in sorted(self._files(source.rstrip("/"))):
                if let_through(path, ignored):
                    inside = path if target == "./" else f"{target}{path[len(source) :]}"
                    place = self.inside(self.directory) / inside
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(self.checkout / path, place)

    def _files(self, source: str) -> list[str]:
        path = self.checkout / source
        found = path.rglob("*") if path.is_dir() else [path]
        return [str(each.relative_to(self.checkout)) for each in found if each.is_file()]

    def _run(self, rest: str, given: dict[str, str]) -> None:
        environment = {**self.environment, **self.arguments, **given}
        command = [
            _found("chroot"),
            str(self.path),
            "/bin/sh",
            "-c",
            f"cd {self.directory} && {rest}",
        ]
        subprocess.run(command, env=environment, check=True, timeout=_COMMAND_SECONDS)

    def _env(self, rest: str, _given: dict[str, str]) -> None:
        self.environment.update(word.split("=", 1) for word in shlex.split(rest))

    def _user(self, rest: str, _given: dict[str, str]) -> None:
        self.user = rest

    def _volume(self, rest: str, _given: dict[str, str]) -> None:
        self.volumes = json.loads(rest)

    def _expose(self, _rest: str, _given: dict[str, str]) -> None:
        pass

    def _stopsignal(self, rest: str, _given: dict[str, str]) -> None:
        self.stop_signal = rest

    def _healthcheck(self, rest: str, _given: dict[str, str]) -> None:
        self.health = json.loads(rest[rest.index(" CMD ") + 5 :])

    def _cmd(self, rest: str, _given: dict[str, str]) -> None:
        self.command = json.loads(rest)

    def inside(self, path: str) -> Path:
        """Return where a path of the root is."""
        return self.path / path.lstrip("/")

    def seal(self) -> None:
        """Make the root read-only, but for its volumes, which are new, and /tmp."""
        for volume in self.volumes:
            mode = self.inside(volume).stat()
            how = f"mode={mode.st_mode & 0o7777:o},uid={mode.st_uid},gid={mode.st_gid}"
            _mount("-t", "tmpfs", "-o", how, "volume", str(self.inside(volume)))
        _mount("-t", "tmpfs", "-o", "mode=1777", "tmp", str(self.inside("/tmp")))
        _mount("--rbind", "/proc", str(self.inside("/proc")))
        _mount("--rbind", "/dev", str(self.inside("/dev")))
        _mount("-o", "remount,ro", str(self.path))

    def _command(self, words: list[str]) -> list[str]:
        user, _, group = self.user.partition(":")
        who = ["--reuid", user, "--regid", group, "--clear-groups", "--no-new-privs"]
        bare = ["setpriv", *who, "--bounding-set=-all", "--inh-caps=-all"]
        enter = [_found("chroot"), str(self.path), *bare, "sh", "-c", 'cd "$0" && exec "$@"']
        return [*enter, self.directory, *words]

    def start(self, words: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a command as process 1, its words to `log`."""
        first = [_found("unshare"), "--pid", "--fork", "--kill-child"]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*first, *self._command(words)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.processes.append(process)
        return process

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command beside what was started."""
        return subprocess.run(
            self._command(words),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_COMMAND_SECONDS,
        )

    def wait_healthy(self, words: list[str]) -> None:
        """Run a health check until it is content."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (done := self.run(words)).returncode:
            assert time.monotonic() < deadline, done
            time.sleep(0.05)

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """Send process 1 the stop signal, as an engine does; its exit code."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.Signals[self.stop_signal])
        return process.wait(_PATIENCE_SECONDS)


def _found(program: str) -> str:
    path = shutil.which(program)
    assert path is not None, f"there is no {program}"
    return path


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, timeout=_COMMAND_SECONDS)


def make_root(checkout: Path, scratch: Path) -> Root:
    """Mount a root that is this machine's, and stays as it is whatever is done in it."""
    _mount("-t", "tmpfs", "layers", str(scratch))
    for name in ("upper", "work", "root"):
        (scratch / name).mkdir()
    layers = f"lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work"
    _mount("-t", "overlay", "-o", layers, "overlay", str(scratch / "root"))
    root = Root(scratch / "root", checkout)
    # Python may be installed where only root may look: in the image everybody can.
    for parent in Path(sys.base_prefix).parents:
        inside = scratch / "root" / str(parent).lstrip("/")
        inside.chmod(inside.stat().st_mode | 0o055)
    return root


def leave_network() -> None:
    """Move into a network that has nothing but a loopback of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP))


def _put_secret(root: Root) -> None:
    """Put the file of users where compose.yaml has it, as its owner would."""
    hashed = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("secret")
    users = [{"name": "ada", "role": "admin", "password_hash": hashed}]
    path = root.inside("/run/secrets/mqd.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"auth": {"users": users}}))
    owner, group = (int(each) for each in root.user.split(":"))
    os.chown(path, owner, group)
    path.chmod(0o400)


def _token(port: int) -> str:
    said = json.dumps({"user": "ada", "password": "secret"}).encode()
    kind = {"content-type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/token", said, kind)
    with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as reply:
        return str(json.load(reply)["token"])


def look(checkout: Path, scratch: Path) -> dict[str, object]:
    """Build the image, run both services of compose.yaml in it, stop them; tell what was seen."""
    services = yaml.safe_load((checkout / "deploy/compose.yaml").read_text())["services"]
    root = make_root(checkout, scratch)
    root.build({k: v for k, v in os.environ.items() if k.startswith("PIP_")})
    _put_secret(root)
    with root.inside("/etc/hosts").open("a") as hosts:
        hosts.write("127.0.0.1 mqd\n")
    root.seal()
    leave_network()
    log = scratch / "log"
    try:
        root.environment.update(services["mqd"]["environment"])
        server = root.start(root.command, log)
        root.wait_healthy(root.health)
        root.environment.update(services["mqweb"]["environment"])
        gateway = root.start(services["mqweb"]["command"], scratch / "web.log")
        root.wait_healthy(services["mqweb"]["healthcheck"]["test"][1:])
        status = root.run(["cat", "/proc/self/status"]).stdout
        seen: dict[str, object] = {
            "uid": root.run(["id", "-u"]).stdout.strip(),
            "capabilities": sorted(set(re.findall(r"^Cap\w+:\s*(\w+)$", status, re.MULTILINE))),
            "create": root.run(["mqctl", "create", "jobs"]).returncode,
            "write outside": root.run(["touch", "/opt/mqd/x"]).stderr.rpartition(": ")[2].strip(),
            "names of the owner": root.run(["ls", "-A", "/data"]).stdout.split(),
            "token": len(_token(7580)) > 0,
            "gateway's end": root.stop(gateway),
            "server's end": root.stop(server),
            "after the end": root.run(["ls", "-A", "/data"]).stdout.split(),
        }
    finally:
        for process in root.processes:
            process.kill()
        sys.stderr.write(log.read_text() if log.exists() else "")
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(Path(sys.argv[1]), Path(sys.argv[2]))) + "\n")
