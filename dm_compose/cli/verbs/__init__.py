"""The commands, one module for each family of verbs. A verb parses its words, calls a dot, and prints the answer."""
