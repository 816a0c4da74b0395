"""What this machine allows, found out by trying (`--doctor`)."""
