"""What we exit with where no program's status is there to be passed on."""

NOT_ATTACHED = 1
"""A process cannot be attached to, or let go."""

USAGE = 2
"""The command line makes no sense."""

NO_TRAP = 3
"""This machine does not let us trap system calls."""
