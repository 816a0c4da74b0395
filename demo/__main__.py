"""Run a static binary under `tesla_trace +socks`, and show what it saw beside what the proxy did.

The proxy and the origin are threads of this process, on loopback.  The exit status is 0 only if the
program got the origin's page, and the proxy was what fetched it.
"""

from __future__ import annotations

import secrets
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fixtures.peers.socks_server import SocksServer

HERE = Path(__file__).parent

LIMIT = 30
"""Seconds that the program may take."""

PT_INTERP = 3
"""The program header that names the dynamic loader (elf(5))."""


class Trouble(Exception):
    """Something that the demo needs is not here; the text says what."""


class Origin(ThreadingHTTPServer):
    """Serves one page, with a word that cannot be guessed."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.greeting = f"Hello from the origin. The word is {secrets.token_hex(4)}."


class _Page(BaseHTTPRequestHandler):
    server: Origin

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.server.greeting}\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def origin() -> Iterator[Origin]:
    """An origin that serves."""
    with Origin() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def static_program(folder: Path) -> list[str]:
    """A static binary that gets a page from the host and the port that are to follow.

    Raises:
        Trouble: there is none to be had.
    """
    made = folder / "client"
    if shutil.which("cc") is not None:
        command = ["cc", "-static", "-O1", "-o", str(made), str(HERE / "client.c")]
        if subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0:
            return [str(made), "{host}", "{port}"]
    busybox = shutil.which("busybox")
    if busybox is None:
        raise Trouble("neither a C compiler that links statically nor busybox is here")
    return [busybox, "wget", "-q", "-O", "-", "http://{host}:{port}/"]


def is_static(program: Path) -> bool:
    """Whether no dynamic loader has a part in it, which LD_PRELOAD would need."""
    data = program.read_bytes()
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    start, size, count = (
        struct.unpack_from(order + form, data, at)[0]
        for form, at in (
            (("Q", 32), ("H", 54), ("H", 56)) if wide else (("I", 28), ("H", 42), ("H", 44))
        )
    )
    headers = range(start, start + size * count, size)
    return all(struct.unpack_from(order + "I", data, at)[0] != PT_INTERP for at in headers)


def main() -> int:
    """Show it.

    Returns:
        The exit status.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="demo-") as folder:
            return _show(static_program(Path(folder)))
    except Trouble as wrong:
        print(f"demo: {wrong}", file=sys.stderr)
        return 1


def _show(command: list[str]) -> int:
    with origin() as server, SocksServer() as proxy:
        host, port = "127.0.0.1", server.server_port
        program = [word.format(host=host, port=port) for word in command]
        words = [f"+socks={proxy.host}:{proxy.port}", "-loopback", *program]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "tesla_trace", *words],
                capture_output=True,
                text=True,
                timeout=LIMIT,
            )
        except subprocess.TimeoutExpired:
            raise Trouble(f"the program has not ended in {LIMIT} s") from None
        asked = list(proxy.asked)
    print(f"$ tesla_trace {' '.join([*words[:2], Path(program[0]).name, *program[1:]])}\n")
    saw = done.stdout.splitlines()
    _print("the program saw", saw, f"the proxy on port {proxy.port} logged", asked)
    static = is_static(Path(program[0]))
    print(_about(Path(program[0]), static))
    agree = (
        done.returncode == 0 and server.greeting in saw and asked == [f"5 {host}:{port}: connected"]
    )
    if agree:
        print("Both agree: what the program took for a direct connection went through the proxy.")
    else:
        print(f"They do not agree; the program's exit status is {done.returncode}.")
        print(done.stderr, end="", file=sys.stderr)
    return 0 if agree and static else 1


def _about(program: Path, static: bool) -> str:
    if static:
        return f"{program.name} is a static binary: it names no dynamic loader (no PT_INTERP)."
    return f"{program.name} is NOT a static binary: it names a dynamic loader (PT_INTERP)."


def _print(left: str, saw: list[str], right: str, asked: list[str]) -> None:
    """Two lists, side by side on a terminal."""
    if not sys.stdout.isatty():
        for title, lines in ((left, saw), (right, asked)):
            print("\n".join([f"{title}:", *(f"    {line}" for line in lines), ""]))
        return
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    beside = Table.grid(expand=True)
    beside.add_column(ratio=1)
    beside.add_column(ratio=1)
    beside.add_row(
        Panel(Text("\n".join(saw)), title=left), Panel(Text("\n".join(asked)), title=right)
    )
    Console().print(beside)


if __name__ == "__main__":
    sys.exit(main())
