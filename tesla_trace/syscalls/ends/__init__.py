"""The program's ends of its sockets: made, kept ready, joined, copied, and seen to be closed."""
