"""The options that a socket takes over from one of the kernel's."""

import socket

import pytest

from tesla_trace.syscalls.options.carried import CARRIED, HALVED
from tesla_trace.syscalls.options.sockopt import OPTIONS, Whose


@pytest.mark.parametrize(("level", "option"), CARRIED)
def test_an_option_is_what_it_is_called(level, option):
    name = CARRIED[level, option]
    assert getattr(socket, name, option) == option
    assert name.startswith(
        {
            socket.SOL_SOCKET: "SO_",
            socket.IPPROTO_IP: "IP_",
            socket.IPPROTO_IPV6: "IPV6_",
            socket.IPPROTO_TCP: "TCP_",
        }[level]
    )


def test_only_the_real_sockets_options_are_set_on_it():
    """Those that the pair or we keep are taken over otherwise."""
    others = {each for each in OPTIONS if OPTIONS[each].whose is not Whose.REAL}
    assert not others & set(CARRIED)
    assert set(HALVED) <= set(CARRIED)
