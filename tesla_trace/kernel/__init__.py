"""The kernel's side: trapping system calls, and reaching into the processes that make them."""
