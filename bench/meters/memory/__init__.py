"""Memory: peaks of a process, and who holds the bytes at the peak of each phase."""
