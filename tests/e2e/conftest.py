import functools
import subprocess
import tempfile

import pytest

from tests.e2e.peers import microsocks, origin
from tests.e2e.process import LIMIT, ROOT, TESLA_TRACE

FIXTURES = sorted((ROOT / "fixtures").glob("*.c"))

BUILDS = {
    "glibc": ["gcc"],
    "glibc-static": ["gcc", "-static"],
    "musl-static": ["musl-gcc", "-static"],
    "i386": ["gcc", "-m32", "-static"],
}
FLAGS = ["-O1", "-Wall", "-Wextra", "-Werror", "-pthread"]


@functools.cache
def builds(build: str) -> bool:
    """Whether this machine can build programs this way, and run them."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/program"
        command = [*BUILDS[build], "-xc", "-", "-o", program]
        source = b"#include <sys/socket.h>\nint main(void) { return 0; }\n"
        try:
            subprocess.run(command, input=source, check=True, capture_output=True, timeout=LIMIT)
            subprocess.run([program], check=True, timeout=LIMIT)
        except (OSError, subprocess.CalledProcessError):
            return False
    return True


class Built:
    """The fixture programs, each built in each way, when it is first asked for."""

    def __init__(self, folder):
        self.folder = folder
        self.said = {}

    def path(self, name: str, build: str, source: str = "fixtures") -> str:
        if not builds(build):
            pytest.skip(f"needs {' '.join(BUILDS[build])}")
        path = f"{self.folder}/{name}.{build}"
        if path not in self.said:
            command = [*BUILDS[build], *FLAGS, f"{ROOT}/{source}/{name}.c", "-o", path]
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
            self.said[path] = done.stderr if done.returncode else ""
        if self.said[path]:
            pytest.fail(self.said[path])
        return path


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Compiles fixture programs."""
    return Built(tmp_path_factory.mktemp("fixtures"))


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
