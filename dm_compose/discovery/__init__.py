"""Decide which mounts of a Compose project are its state, and why. Pure: nothing here asks anybody or changes anything."""
