"""What calls are given: registers and the program's memory, read, checked and written."""
