"""The lab: the order service with one thing broken, what that looks like, and the command that mends it."""
