"""Stacks beside a stack. Each is filled from a commit and has volumes, networks and ports of its own."""
