"""pyseccomp, imported in processes of their own: what it is worth, and what it leaves."""

import subprocess
import sys

IMPORTED = """
import ctypes, sys
started = []
sys.addaudithook(lambda event, args: event == "subprocess.Popen" and started.append(args[0]))
from tesla_trace.kernel.seccomp import pyseccomp
"""


def says(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


def test_it_is_the_library():
    code = """
rule = pyseccomp.Arg(0, pyseccomp.EQ, 2)
program = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
program.add_rule(pyseccomp.ERRNO(1), "socket", rule)
program.export_bpf(sys.stdout)
"""
    plain = "import pyseccomp, sys"
    run = [
        subprocess.run([sys.executable, "-c", each + code], stdout=-1) for each in (IMPORTED, plain)
    ]
    ours, theirs = (each.stdout for each in run)
    assert ours and ours == theirs


def test_nothing_is_run_to_find_it():
    assert says(IMPORTED + "print(started, 'subprocess' in sys.modules)") == ["[]", "False"]


def test_nothing_remains_of_the_stand_in():
    code = """
print('ctypes.util' in sys.modules, hasattr(ctypes, 'util'))
import ctypes.util
print(ctypes.util.__spec__.name, 'find_library' in dir(ctypes.util), ctypes is pyseccomp.ctypes)
"""
    assert says(IMPORTED + code) == ["False", "False", "ctypes.util", "True", "True"]


def test_what_is_there_already_is_left_alone():
    code = "import ctypes.util; util = ctypes.util" + IMPORTED
    code += "print(ctypes.util is util is sys.modules['ctypes.util'], pyseccomp.system_arch() > 0)"
    assert says(code) == ["True", "True"]


def test_where_the_loader_has_no_such_name_it_is_searched_for():
    code = """
from tesla_trace.kernel import seccomp
del sys.modules["pyseccomp"]
seccomp.FOUND["seccomp"] = "there-is-none.so"
with seccomp._at_hand():
    import pyseccomp as searched
print(len(started) > 0, searched.system_arch() == pyseccomp.system_arch())
"""
    assert says(IMPORTED + code) == ["True", "True"]


def test_it_goes_when_the_import_fails():
    code = """
from tesla_trace.kernel import seccomp
try:
    with seccomp._at_hand():
        print(sys.modules["ctypes.util"].find_library("seccomp"))
        raise ImportError
except ImportError:
    print("ctypes.util" in sys.modules, hasattr(ctypes, "util"))
"""
    assert says(IMPORTED + code) == ["libseccomp.so.2", "False", "False"]
