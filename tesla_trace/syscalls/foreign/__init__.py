"""Calls on the kernel's own sockets: those that did not come from us, and those handed back."""
