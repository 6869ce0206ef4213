"""The command lines. They parse words, call the packages below, and print. They decide nothing about state."""
