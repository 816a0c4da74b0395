"""What a program could notice of us, besides its sockets: nothing."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from tests.e2e.process import LIMIT, TESLA_TRACE, alive, eventually, run, start, under

DUMMY = ["+dummy"]


@pytest.mark.parametrize(
    "command",
    ["true", "false", "exit 42", "exit 255", "kill -TERM $$", "kill -KILL $$", "kill -SEGV $$"],
)
def test_exit_status(command):
    native = run("sh", "-c", command)
    assert under(DUMMY, "sh", "-c", command).status == native.status


def test_exit_status_before_a_program():
    # As a shell: 127, not found; 126, not executable.
    assert (ran := under(DUMMY, "/nowhere/program")).status == 127
    assert "/nowhere/program: not found" in ran.log[0]
    assert under(DUMMY, "no-such-program").status == 127
    assert under(DUMMY, "/etc/passwd").status == 126
    assert under(DUMMY, "/etc").status == 126
    assert under(DUMMY, "/etc/passwd/x").status == 127


def test_messages_to_stderr_without_log():
    ran = run(TESLA_TRACE, "+dummy", "/nowhere/program")
    assert (ran.status, ran.out) == (127, "")
    assert ran.err == "tesla_trace: /nowhere/program: not found\n"


def test_a_script_without_interpreter(tmp_path):
    script = tmp_path / "script"
    script.write_text("echo $1; exit 5\n")
    script.chmod(0o755)
    assert (ran := under(DUMMY, script, "word")).status == 5
    assert ran.out == "word\n"


def test_path_is_searched(tmp_path):
    (tmp_path / "thing").write_text("#!/bin/sh\necho found\n")
    (tmp_path / "thing").chmod(0o755)
    assert under(DUMMY, "thing", PATH=f"{tmp_path}:/usr/bin:/bin").out == "found\n"


STATE = """\
import os, signal, resource, sys
fds = {int(fd) for fd in os.listdir("/proc/self/fd")}
for fd in sorted(fds):
    try: print(fd, os.readlink(f"/proc/self/fd/{fd}").partition(":")[0], oct(os.stat(fd).st_mode))
    except OSError: pass
for line in open("/proc/self/status"):
    if line.split(":")[0] in sys.argv[1:]: print(line, end="")
print(sorted(each for each in os.environ.items() if each[0] != "TESLA_TRACE_OUTER"))
print(os.getcwd(), oct(os.umask(0)), os.nice(0), os.getpgrp() == os.getpgid(os.getppid()))
print([resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n.startswith("RLIM")
       and n != "RLIM_INFINITY"])
print(open("/proc/self/cmdline").read().split("\\0")[1:])
"""
FIELDS = "SigBlk SigIgn SigCgt SigPnd Uid Gid Groups CapPrm CapEff CapBnd CapAmb Umask".split()


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C"}, {"LC_ALL": "", "LANG": ""}])
def test_nothing_of_ours_is_inherited(locale):
    """Descriptors, environment (but for one variable), signals, limits, credentials."""
    words = ("-I", "-c", STATE, *FIELDS)
    native = run("env", sys.executable, *words, **locale)
    traced = under(DUMMY, "env", sys.executable, *words, **locale)
    assert traced.out.splitlines() == native.out.splitlines()
    assert traced == native


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1])
def test_ignored_signals_stay_ignored(ignored):
    """As nohup(1) sets them."""
    show = ["grep", "^Sig[BIC]", "/proc/self/status"]
    number = int(ignored)
    native = run("sh", "-c", f"trap '' {number}; exec \"$@\"", "sh", *show)
    words = [TESLA_TRACE, "+dummy", *show]
    traced = run("sh", "-c", f"trap '' {number}; exec \"$@\"", "sh", *words)
    assert traced == native


def test_closed_standard_descriptors():
    command = "exec 0<&- 2>&-; exec {} sh -c 'ls -l /proc/self/fd | wc -l'"
    native = run("sh", "-c", command.format(""))
    traced = run("sh", "-c", command.format(f"{TESLA_TRACE} +dummy"))
    assert traced == native


def test_standard_input_and_output():
    text = "line\n" * 10000
    ran = under(DUMMY, "cat", given=text)
    assert (ran.status, ran.out, ran.err) == (0, text, "")
    ran = under(DUMMY, "sh", "-c", "echo out; echo err >&2")
    assert (ran.out, ran.err) == ("out\n", "err\n")


def test_a_pipe_ends_with_the_program():
    """Though it leaves a daemon behind, of which somebody must keep answering the calls."""
    daemon = "exec >/dev/null 2>&1 </dev/null; echo $BASHPID >&3; exec sleep 1000"
    with _pipe() as (read, write):
        command = f"{TESLA_TRACE} +dummy bash -c '(exec 3>&{write}; {daemon}) & echo done' | cat"
        ran = subprocess.run(
            ["bash", "-c", command], pass_fds=[write], capture_output=True, text=True, timeout=LIMIT
        )
        assert ran.stdout == "done\n" and ran.returncode == 0, ran
        pid = int(os.read(read, 16))
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_sigpipe_ends_the_program():
    ran = run("sh", "-c", f"{TESLA_TRACE} +dummy yes | head -n 1")
    assert (ran.status, ran.out, ran.err) == (0, "y\n", "")


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2", "WINCH", "ALRM"])
def test_signals_sent_to_us_reach_the_program(name):
    command = f"trap 'echo got {name}; exit 3' {name}; echo ready; while :; do sleep 0.01; done"
    with start(TESLA_TRACE, "+dummy", "bash", "-c", command) as program:
        program.until("ready")
        program.send(getattr(signal, f"SIG{name}"))
        out, err = program.communicate()
        assert (program.wait(), out, err) == (3, f"ready\ngot {name}\n", "")


def test_a_signal_that_ends_the_program_ends_us_alike():
    with start(TESLA_TRACE, "+dummy", "sh", "-c", "echo ready; exec sleep 1000") as program:
        program.until("ready")
        program.send(signal.SIGTERM)
        assert program.wait() == -signal.SIGTERM


def test_killing_us_kills_the_program():
    with start(TESLA_TRACE, "+dummy", "sh", "-c", "echo $$; exec sleep 1000") as program:
        pid = int(program.until("\n"))
        program.send(signal.SIGKILL)
        assert program.wait() == -signal.SIGKILL
        eventually("the program has gone", lambda: not alive(pid))


def test_stopped_and_continued():
    with start(TESLA_TRACE, "+dummy", "sh", "-c", "echo $$; while :; do sleep 0.05; done") as us:
        pid = int(us.until("\n"))
        for number in (signal.SIGTSTP, signal.SIGTTIN):
            us.send(number)
            _, status = os.waitpid(us.pid, os.WUNTRACED)  # as a shell waits
            assert os.WIFSTOPPED(status) and os.WSTOPSIG(status) == number
            assert _state(pid) == "T"
            us.send(signal.SIGCONT)
            eventually("the program goes on", lambda: _state(pid) != "T")
        os.kill(pid, signal.SIGKILL)
        assert us.wait() == -signal.SIGKILL


def _state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


@contextlib.contextmanager
def _pipe():
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)
