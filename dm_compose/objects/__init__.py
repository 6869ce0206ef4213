"""The immutable contents of files, and the blocks of the store that they share."""
