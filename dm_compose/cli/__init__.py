"""The command lines. Nothing here decides anything about state: it parses words, calls the façade and prints."""
