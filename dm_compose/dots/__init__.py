"""The objects that users work with: a dot by its name, a Compose stack, all dots of a store."""
