"""What is said of a process that cannot be attached to, by what /proc would say of it."""

import os

import pytest

from tesla_trace.supervision.target import (
    Unattachable,
    check,
    has_filter_of_its_own,
    why_not_allowed,
)


@pytest.fixture
def proc(tmp_path):
    """A /proc with one process in it, 4711, of our own user unless it is told otherwise."""
    uid = os.getuid()
    fields = {"Name": "nginx", "State": "S (sleeping)", "TracerPid": "0", "Seccomp": "0"}
    fields["Uid"] = f"{uid}\t{uid}\t{uid}\t{uid}"

    def make(flags=0, scope=None, **changed):
        folder = tmp_path / "4711"
        folder.mkdir()
        said = {**fields, **changed}
        (folder / "status").write_text("".join(f"{k}:\t{v}\n" for k, v in said.items()))
        (folder / "stat").write_text(f"4711 (nginx) S 1 1 1 0 -1 {flags} 0 0")
        if scope is not None:
            (tmp_path / "sys/kernel/yama").mkdir(parents=True)
            (tmp_path / "sys/kernel/yama/ptrace_scope").write_text(f"{scope}\n")
        return str(tmp_path)

    return make


def test_nothing_is_in_the_way(proc):
    check(4711, (), proc())


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"flags": 0x00200000}, "nginx (4711) is a thread of the kernel"),
        ({"State": "Z (zombie)"}, "nginx (4711) has ended already"),
        ({"TracerPid": "99"}, "is traced by another process (99) already: end that first"),
        ({"Seccomp": "1"}, "read and write only"),
    ],
)
def test_what_is_in_the_way(proc, made, said):
    with pytest.raises(Unattachable) as wrong:
        check(4711, (), proc(**made))
    assert said in str(wrong.value)


def test_those_that_are_never_attached_to(proc):
    root = proc()
    for process, ours, said in (
        (4711, (4711,), "4711 is tesla_trace itself"),
        (4712, (), "there is no process 4712"),
    ):
        with pytest.raises(Unattachable, match=said):
            check(process, ours, root)
    os.rename(f"{root}/4711", f"{root}/1")
    with pytest.raises(Unattachable, match="1 is init"):
        check(1, (), root)


class Who:
    """Somebody who asks: no user of this machine, or root without rights."""

    def __init__(self, uid, may_trace=False):
        self.uid, self.may_trace = uid, may_trace


@pytest.mark.parametrize(
    ("uid", "may_trace", "made", "said"),
    [
        (1000, False, {"Uid": "0\t0\t0\t0"}, "belongs to root: run tesla_trace as root"),
        (1000, False, {"Uid": "1000\t0\t0\t0"}, "with the rights of root (a set-uid program)"),
        (1000, False, {"Uid": "1000\t1000\t0\t0", "scope": 1}, "kernel.yama.ptrace_scope=0"),
        (1000, False, {"Uid": "1000\t1000\t0\t0", "scope": 2}, "kernel.yama.ptrace_scope=0"),
        (0, True, {"Uid": "0\t0\t0\t0", "scope": 3}, "until the next boot"),
        (1000, False, {"Uid": "1000\t1000\t0\t0"}, "keeps others from looking into it"),
        (0, False, {"Uid": "0\t0\t0\t0"}, "--cap-add SYS_PTRACE"),
        (0, True, {"Uid": "0\t0\t0\t0"}, "SELinux, AppArmor"),
        (1000, False, {"Uid": "1000\t1000\t0\t0", "TracerPid": "9"}, "since a moment ago"),
    ],
)
def test_why_it_is_not_allowed(proc, uid, may_trace, made, said):
    assert said in why_not_allowed(4711, proc(**made), Who(uid, may_trace))


def test_one_that_has_gone_meanwhile(proc):
    assert why_not_allowed(4712, proc()) == "4712 ended meanwhile"


@pytest.mark.parametrize(
    ("its", "ours", "more"), [("1", "0", True), ("1", "1", False), ("", "", False)]
)
def test_a_filter_that_we_are_not_under(proc, its, ours, more):
    root = proc(**({"Seccomp_filters": its} if its else {}))
    os.mkdir(f"{root}/{os.getpid()}")
    line = f"Seccomp_filters:\t{ours}\n" if ours else ""
    with open(f"{root}/{os.getpid()}/status", "w") as file:
        file.write(line)
    assert has_filter_of_its_own(4711, root) is more
    assert not has_filter_of_its_own(4712, root)


def thread(root, number, **said):
    os.makedirs(f"{root}/4711/task/{number}")
    with open(f"{root}/4711/task/{number}/status", "w") as file:
        file.writelines(f"{key}:\t{value}\n" for key, value in said.items())


def test_a_process_lives_without_its_first_thread(proc):
    root = proc(State="Z (zombie)")
    thread(root, 4711, State="Z (zombie)")
    with pytest.raises(Unattachable):
        check(4711, (), root)
    thread(root, 4712, State="S (sleeping)")
    check(4711, (), root)


def test_a_thread_may_take_the_place_of_the_first_while_we_look(proc):
    root = proc(State="Z (zombie)")
    thread(root, 4711, State="Z (zombie)")
    os.mkdir(f"{root}/4711/task/4712")  # it was listed, and cannot be read
    check(4711, (), root)


def test_a_filter_of_one_thread_only(proc):
    root = proc(Seccomp_filters="0")
    thread(root, 4711, Seccomp_filters="0")
    assert not has_filter_of_its_own(4711, root)
    thread(root, 4712, Seccomp_filters="1")
    assert has_filter_of_its_own(4711, root)
