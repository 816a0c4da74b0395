"""The ways past the handlers, and what becomes of each call and socket that takes one."""
