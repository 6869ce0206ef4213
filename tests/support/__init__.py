"""Helpers of the tests: file systems, trees, stores, child processes."""
