"""The store in a real helper container."""
