"""The store in a helper container: the same interface, called over the container's standard input and output."""
