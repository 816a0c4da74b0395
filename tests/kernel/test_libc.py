import subprocess
import sys

import pytest

from tesla_trace.kernel.libc import libc

CODE = """
import resource
from tesla_trace.kernel.libc import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        pieces = [bytes(200_000) for _ in range(10)]
        del pieces
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
keep_freed_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(not hasattr(libc, "mallopt"), reason="needs glibc")
def test_freed_memory_is_not_fetched_from_the_kernel_again():
    ran = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=20)
    before, after = map(int, ran.stdout.split())
    assert before > 1000 > 100 > after
