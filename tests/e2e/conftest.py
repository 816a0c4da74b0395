import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.e2e.peers import microsocks, origin
from tests.e2e.process import LIMIT, ROOT, TESLA_TRACE

FIXTURES = sorted((ROOT / "fixtures").glob("*.c"))

BUILDS = {
    "glibc": ["gcc"],
    "glibc-static": ["gcc", "-static"],
    "musl-static": ["musl-gcc", "-static"],
}
FLAGS = ["-O1", "-Wall", "-Wextra", "-Werror", "-pthread"]


@dataclass
class Built:
    """The fixture programs, each built in each way."""

    failed: dict[tuple[str, str], str]
    folder: object

    def path(self, name: str, build: str) -> str:
        if shutil.which(BUILDS[build][0]) is None:
            pytest.skip(f"needs {BUILDS[build][0]}")
        if (name, build) in self.failed:
            pytest.fail(self.failed[name, build])
        return f"{self.folder}/{name}.{build}"


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Compile the fixture programs, as many at a time as there are processors."""
    made = Built({}, tmp_path_factory.mktemp("fixtures"))

    def compile(source, build):
        command = [*BUILDS[build], *FLAGS, source, "-o", made.path(source.stem, build)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        if done.returncode:
            made.failed[source.stem, build] = done.stderr

    with ThreadPoolExecutor(2) as pool:
        for build, command in BUILDS.items():
            if shutil.which(command[0]) is not None:
                list(pool.map(lambda source, build=build: compile(source, build), FIXTURES))
    return made


@pytest.fixture(scope="session", autouse=True)
def trapping():
    """Skip where this machine does not let us trap system calls."""
    ran = subprocess.run([TESLA_TRACE, "+dummy", "true"], capture_output=True, timeout=LIMIT)
    if ran.returncode == 3:
        pytest.skip("needs seccomp user notification")


@pytest.fixture(scope="session")
def web():
    """An HTTP server, run natively."""
    with origin() as server:
        yield server


@pytest.fixture
def proxy(tmp_path):
    """A microsocks of this test's own, run natively."""
    with microsocks(tmp_path) as server:
        yield server
