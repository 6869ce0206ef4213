"""Stacks beside a stack: filled from a commit, with volumes, networks and ports of their own."""
