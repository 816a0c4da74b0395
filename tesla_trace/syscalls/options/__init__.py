"""What a program asks of its sockets, and sets: options, ioctls, and what is ours to answer."""
