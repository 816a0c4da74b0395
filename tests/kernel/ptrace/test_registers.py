"""One table for each kind of registers: packing and unpacking, on whatever machine."""

import platform

import pytest
from ptrace.binding.linux_struct import user_regs_struct

from tesla_trace.kernel.arches import AARCH64, I386, X86_64
from tesla_trace.kernel.ptrace.registers import LAYOUTS, layout, own

each_layout = pytest.mark.parametrize("of", LAYOUTS, ids=lambda of: of.name)


@each_layout
def test_what_is_unpacked_packs_to_the_same(of):
    data = bytes(range(of.size % 256)) + bytes(of.size - of.size % 256)
    assert of.pack(of.unpack(data)) == data


@each_layout
def test_every_place_is_there_and_the_arguments_are_apart(of):
    places = [*of.args, of.number, of.result, of.instruction, of.stack]
    assert all(0 <= place < of.count for place in places)
    assert len(set(of.args)) == 6
    assert not {of.instruction, of.stack} & set(of.args)


@each_layout
def test_a_call_is_replaced_and_made_anew(of):
    words = [0] * of.count
    of.with_call(words, 7, (1, 2, 3, 4, 5, 6))
    assert [words[place] for place in of.args] == [1, 2, 3, 4, 5, 6]
    assert words[of.number if of.begun is None else of.begun] == 7
    of.with_next_call(words, 8, (9,), 0x1000)
    assert words[of.number] == 8 and words[of.instruction] == 0x1000
    assert words[of.args[0]] == 9 and words[of.args[1]] == 2
    assert of.begun is None or not of.in_call(words)


@each_layout
def test_results_are_signed(of):
    words = [0] * of.count
    of.with_result(words, -512)
    assert of.returned(words) == -512
    assert of.in_call(words)
    of.with_result(words, 3)
    assert of.returned(words) == 3


@each_layout
def test_all_instructions_are_of_one_length(of):
    assert {len(each) for each in of.calls} == {of.step()}


def test_the_layout_goes_by_the_call_and_the_size():
    assert layout(X86_64.audit, 216).name == "x86-64"
    assert layout(I386.audit, 68).name == "i386"
    assert layout(I386.audit, 216).name == "i386 by a 64-bit program"
    assert layout(AARCH64.audit, 272).name == "aarch64"
    assert own(216, (X86_64.audit, I386.audit)).name == "x86-64"
    assert own(68, (X86_64.audit, I386.audit)).name == "i386"
    with pytest.raises(OSError, match="registers of 5 bytes"):
        layout(X86_64.audit, 5)
    with pytest.raises(OSError, match="registers of 216 bytes"):
        own(216, (AARCH64.audit,))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs x86-64")
def test_the_names_are_those_of_python_ptrace():
    names = [name for name, _ in user_regs_struct._fields_]
    of = LAYOUTS[0]
    assert len(names) == of.count
    assert [names[place] for place in of.args] == "rdi rsi rdx r10 r8 r9".split()
    places = (of.number, of.begun, of.result, of.instruction, of.stack)
    assert [names[place] for place in places] == "rax orig_rax rax rip rsp".split()
    wide = LAYOUTS[2]
    assert [names[place] for place in wide.args] == "rbx rcx rdx rsi rdi rbp".split()
