"""Containers of real runtimes, with a busybox for a root, and an agent for them.

with agent(tmp_path, "+log") as ours, Network() as net:
    ran = Container("runc", tmp_path, ours, net).run("wget", "-qO-", "http://127.0.0.1:80/")

Each has a network namespace with nothing but loopback in it, where the test's peers are, too.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.apart import apart
from tests.e2e.plain import let_in
from tests.e2e.process import TESLA_TRACE, Program, Ran, children, eventually, run, start

RUNTIMES = ("runc", "crun")
each_runtime = pytest.mark.parametrize("runtime", RUNTIMES)

CAPABILITIES = ["CAP_NET_BIND_SERVICE", "CAP_KILL"]
APPLETS = "sh wget nc httpd cat echo sleep kill ps".split()

SHARED = ("anon_inode", "socket", "door")
"""What all containers share, from the first one on: to see closes, and to join ends of pairs."""

CGROUPS = "umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup"
"""Shell commands that let crun see one kind of cgroups only: of two it refuses the sight."""


def needed(runtime: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, for containers")
    for program in (runtime, "busybox"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    if not _works(runtime):
        pytest.skip(f"needs a {runtime} that can run containers here")


@functools.cache
def _works(runtime: str) -> bool:
    return run(*words_for(runtime), "--version").status == 0


def words_for(runtime: str) -> list[object]:
    if runtime == "crun" and not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return apart(CGROUPS, runtime)
    return [runtime]


@functools.cache
def profile(form: str, path: str, *words: str) -> str:
    """What we print for a runtime."""
    ran = run(TESLA_TRACE, f"--oci-profile={form}", "--oci-agent", path, *words)
    assert ran.status == 0, ran
    return ran.out


class Network:
    """A network namespace, and a web server in it."""

    def __init__(self, folder: Path, port: int = 80) -> None:
        self.folder = folder
        self.port = port
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Network:
        up = "ip link set lo up && echo up && exec cat"
        holder = self._stack.enter_context(start("unshare", "-n", "sh", "-ec", up))
        self.pid = holder.pid
        holder.until("up")
        pages = self.folder / f"pages-{self.port}"
        pages.mkdir(parents=True, exist_ok=True)
        (pages / "hello").write_text(f"hello from {self.port}\n")
        with (pages / "big").open("wb") as big:
            big.truncate(2**33)  # without end, as far as a test is concerned
        self.start(self.port, "busybox", "httpd", "-f", "-p", f"127.0.0.1:{self.port}", "-h", pages)
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def words(self, *argv: object) -> list[object]:
        """The words for running a program there."""
        return ["nsenter", "-t", self.pid, "-n", *argv]

    def start(self, port: int, *argv: object, out: int | None = None) -> Program:
        """Start a server there."""
        started = self._stack.enter_context(start(*self.words(*argv), stderr=out))
        eventually(f"{argv[0]} listens", lambda: self.listens(port))
        return started

    def listens(self, port: int) -> bool:
        """Whether somebody does there."""
        text = Path(f"/proc/{self.pid}/net/tcp").read_text()
        return any(f":{port:04X} 00000000:0000 0A" in line for line in text.splitlines())

    def microsocks(self, port: int = 1080) -> Path:
        """A proxy there; its log."""
        path = self.folder / f"microsocks-{self.port}.log"
        with path.open("wb") as log:
            self.start(port, "microsocks", "-i", "127.0.0.1", "-p", port, out=log.fileno())
        return path


@dataclass
class Agent:
    program: Program
    path: str
    log: Path

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines())

    def until(self, text: str) -> None:
        eventually(f"the agent says {text!r}: {self.lines()}", lambda: self.said(text))

    @property
    def keeper(self) -> int:
        """The process that stays when it dies."""
        return children(self.program.pid)[0]

    @property
    def pid(self) -> int:
        """The process that serves."""
        return children(self.keeper)[0]

    def more_than(self, before: list[str]) -> list[str]:
        """The descriptors that it has besides what it had, and what all containers share."""
        more = Counter(self.files())
        more.subtract([*before, *SHARED])
        return sorted((+more).elements())

    def files(self) -> list[str]:
        """Its descriptors."""
        folder = f"/proc/{self.pid}/fd"
        found = []
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                name = os.readlink(f"{folder}/{fd}")
                found.append("door" if "/tesla_trace-" in name else name.partition(":")[0])
        return sorted(found)


@contextlib.contextmanager
def agent(folder: Path, *words: object) -> Iterator[Agent]:
    """An agent that listens."""
    path, log = folder / "agent.sock", folder / "agent.log"
    log.touch()
    with start(TESLA_TRACE, "--oci-agent", path, "--log", log, *words) as program:
        ours = Agent(program, str(path), log)
        ours.until("listens")
        yield ours


class Container:
    """One container, with a state folder of its own.

    Args:
        words: for the profile.
        metadata: which handlers it asks for.
        users: the number for us of its user 0, if it is to have a user namespace of its own.
        files: in its PATH besides busybox, by name.
        process: what is to be in that part of the configuration.
    """

    def __init__(
        self,
        runtime: str,
        folder: Path,
        agent: Agent,
        network: Network | None = None,
        *,
        words: tuple[str, ...] = ("+log",),
        metadata: str = "",
        users: int = 0,
        files: dict[str, str] | None = None,
        **process: object,
    ) -> None:
        self.name = f"tt-{uuid.uuid4().hex[:12]}"
        self._runtime = runtime
        self._folder = folder / self.name
        self._profile = json.loads(profile(runtime, agent.path, *words))
        if metadata:
            self._profile["listenerMetadata"] = metadata
        self._network = network
        self._process = process
        self._users = users
        (self._folder / "root" / "bin").mkdir(parents=True)
        for each in ("proc", "dev", "tmp"):
            (self._folder / "root" / each).mkdir()
        busybox = shutil.which("busybox")
        for name, path in {"busybox": str(busybox), **(files or {})}.items():
            shutil.copy(path, self._folder / "root" / "bin" / name)
        for applet in APPLETS:
            (self._folder / "root" / "bin" / applet).symlink_to("busybox")

    def _configure(self, argv: tuple[object, ...]) -> None:
        network = {"type": "network"}
        if self._network is not None:
            network["path"] = f"/proc/{self._network.pid}/ns/net"
        namespaces = [network, *({"type": each} for each in ("pid", "ipc", "mount"))]
        linux: dict[str, object] = {"namespaces": namespaces, "seccomp": self._profile}
        if self._users:
            maps = [{"containerID": 0, "hostID": self._users, "size": 65536}]
            linux |= {"uidMappings": maps, "gidMappings": maps}
            namespaces.append({"type": "user"})
            let_in(self._folder)
        sets = ("bounding", "effective", "permitted")
        config = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": [str(each) for each in argv],
                "env": ["PATH=/bin"],
                "cwd": "/",
                "noNewPrivileges": True,
                "capabilities": {each: CAPABILITIES for each in sets},
                **self._process,
            },
            "root": {"path": "root", "readonly": False},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            ],
            "linux": linux,
        }
        (self._folder / "config.json").write_text(json.dumps(config))

    def words(self, *argv: object) -> list[object]:
        """For the runtime."""
        return [*words_for(self._runtime), "--root", self._folder / "state", *argv]

    def run(self, *argv: object) -> Ran:
        """Run it to its end."""
        with self.start(*argv, stderr=subprocess.PIPE) as program:
            out, err = program.communicate()
            return Ran(program.process.returncode, out, err)

    @contextlib.contextmanager
    def start(self, *argv: object, stderr: int | None = subprocess.DEVNULL) -> Iterator[Program]:
        """Run it, and kill it at the end."""
        self._configure(argv)
        words = self.words("run", "-b", self._folder, self.name)
        with start(*words, stderr=stderr) as program:
            try:
                yield program
            finally:
                run(*self.words("delete", "--force", self.name))

    def enter(self, *argv: object) -> Ran:
        """Run one more process in it."""
        return run(*self.words("exec", self.name, *argv))

    def kill(self) -> None:
        assert run(*self.words("kill", self.name, "KILL")).status == 0
