"""Stream sockets of the program that are ours, and what the calls on them do."""
