"""What each trapped call means: the kernel's side joined to the graph's.  See table.py."""
