"""Reading untrusted repositories with DVC, in a process that can neither do harm nor hang."""
