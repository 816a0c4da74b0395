"""What each trapped call means: the kernel's side joined to the graph's.

`table.py` says which calls are trapped and what does each; `session.py` is what they share.  The
rest, in the order in which each part needs only those before it (tests/test_imports.py):

- `arguments`: what calls are given, read from registers and memory, and checked;
- `ends`: the program's ends of its sockets;
- `escapes`: the ways past the handlers;
- `handback`: giving the program the kernel's own socket instead;
- the session, as whom calls are done, which of them wait, what became of each flow;
- `options`: options and ioctls;
- `stream` and `datagram`: the program's sockets of either kind, and the calls on them;
- `foreign`: calls on the kernel's own sockets;
- socket(2), letting a program go, and the table.
"""
