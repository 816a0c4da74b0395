"""The command line: what its words are, and what each of its forms does."""

from tesla_trace.cli.command import main

__all__ = ["main"]
