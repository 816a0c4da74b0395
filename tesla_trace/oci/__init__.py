"""Containers that somebody else starts: the seccomp agent of the OCI runtime specification."""
