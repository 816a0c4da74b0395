"""Session services for unmodified programs: a flow graph of small handlers."""

__version__ = "0.1.0"
