"""The command line: what its words are, and what each of its forms does."""

import gc


def main() -> None:
    """Run the command line of this process."""
    gc.disable()  # until the supervisor runs: what is imported stays
    from tesla_trace.cli import command

    command.run()
