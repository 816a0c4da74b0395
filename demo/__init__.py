"""A static binary through a SOCKS proxy, to be seen at a glance: `python -m demo`."""
