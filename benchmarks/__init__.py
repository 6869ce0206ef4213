"""Programs that measure, and print their figures with the command that repeats them. Not part of the installed package."""
