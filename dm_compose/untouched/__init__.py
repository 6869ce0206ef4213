"""Proof that nothing has reached a container since the last restore."""
