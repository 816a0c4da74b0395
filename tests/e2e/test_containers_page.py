"""What docs/containers.md shows works, and what docs/machines.md shows of the doctor is so."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tesla_trace.cli.options import take_apart
from tesla_trace.cli.stacked import stacked
from tests.e2e.apart import apart
from tests.e2e.containers import needed, words_for
from tests.e2e.plain import tesla_trace as as_nobody
from tests.e2e.process import ROOT, TESLA_TRACE, run

PAGE = (ROOT / "docs/containers.md").read_text()
MACHINES = (ROOT / "docs/machines.md").read_text()
SHELL = re.findall(r"^```sh\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^(?:ExecStart=\S*/)?(tesla_trace .*)$", PAGE, flags=re.MULTILINE)
COMMANDS += [each.replace(",", "") for each in re.findall(r"command: \[(.*)\]", PAGE)]
PATH = {"PATH": f"{Path(TESLA_TRACE).parent}:{os.environ['PATH']}"}


def test_by_hand(tmp_path):
    """As it stands, but for where the socket is and the container's name."""
    needed("runc")
    text = SHELL[0].replace("/run/tesla_trace", f"{tmp_path}/run").replace("kill %1", "kill $!")
    text = text.replace("runc run", f"runc --root {tmp_path}/state run")
    ran = run("sh", "-ec", f"cd {tmp_path}\n{text}", **PATH)
    size = str(os.path.getsize(str(shutil.which("busybox"))))
    assert ran.status == 0 and ran.out.splitlines()[0] == size, ran
    assert "connecting to 127.0.0.1:8080" in ran.out, ran
    assert "listening on 127.0.0.1:8080" in ran.out, ran


@pytest.mark.parametrize("line", [each for each in COMMANDS if "--oci-profile" in each])
def test_a_profile_is_printed(line):
    ran = run("sh", "-ec", line.partition(">")[0], **PATH)
    assert ran.status == 0, ran
    said = json.loads(ran.out)
    assert said["listenerPath"] == "/run/tesla_trace/agent.sock"
    assert ("listenerMetadata" in said) == ("--metadata" in line)


@pytest.mark.parametrize("line", [each for each in COMMANDS if "--oci-profile" not in each])
def test_an_agent_can_be_started_so(line):
    words = take_apart(shlex.split(line.partition("&")[0].partition(">")[0])[1:])
    assert words.agent == "/run/tesla_trace/agent.sock" and stacked(words).serves(1)


# ---- the doctor ----

SHOWN = dict(re.findall(r"^([A-Z][^\n]*):\n\n```\n(Linux .*?)^```$", MACHINES, re.M | re.S))
DEFAULT = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP"
    " NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
).split()
"""What Docker leaves root in a container of the capabilities."""


def rows(text):
    """What is there and what is not, and what that comes to."""
    lines = [line.partition(" (")[0] for line in text.splitlines()[1:]]
    return [line for line in lines if re.match(r"yes |no  |Programs", line)]


def as_root(folder):
    if os.geteuid() != 0:
        pytest.skip("needs root, to ask as such")
    return [TESLA_TRACE]


def as_plain_user(folder):
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    return as_nobody()


def inside_runc(folder):
    """The doctor of this machine in a container that has its files."""
    needed("runc")
    (folder / "root").mkdir()
    granted = [f"CAP_{each}" for each in DEFAULT]
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": [TESLA_TRACE, "--doctor"],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "capabilities": {each: granted for each in ("bounding", "effective", "permitted")},
        },
        "root": {"path": "root", "readonly": True},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": [{"type": each} for each in ("pid", "ipc", "mount", "network")]},
    }
    (folder / "config.json").write_text(json.dumps(config))
    words = [*words_for("runc"), "--root", folder / "state", "run", "-b", folder, folder.name]
    return apart(f"mount --rbind / {folder}/root", *words)


@pytest.mark.parametrize(
    ("title", "words"),
    [("As root", as_root), ("As a plain user", as_plain_user), ("Inside runc", inside_runc)],
)
def test_what_the_doctor_says(title, words, tmp_path):
    """Row by row; what is missing on this machine everywhere is none of the page's."""
    argv = words(tmp_path)
    if title != "Inside runc":
        argv = [*argv, "--doctor"]
    said = rows(run(*argv).out)
    shown = next(rows(text) for name, text in SHOWN.items() if name.startswith(title))
    ours = {row[5:] for row in rows(run(TESLA_TRACE, "--doctor").out) if row.startswith("no ")}
    lacking = [
        [row for row in rows if not row.startswith("yes") and row[5:] not in ours]
        for rows in (said, shown)
    ]
    assert lacking[0] == lacking[1]
    assert {row[5:] for row in shown[:-1]} <= {row[5:] for row in said}
