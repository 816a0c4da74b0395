"""Handing back: the program gets the kernel's own socket in place of its end of a pair."""
