"""Where bytes come in and go out: the event loop, and the two ends of every flow's graph."""
