"""Trapping, and reaching into threads, by ptrace(2)."""
