"""`python -m tesla_trace` is `tesla_trace`."""

from tesla_trace.cli import main

main()
