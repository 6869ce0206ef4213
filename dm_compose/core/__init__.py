"""Plain data and pure functions: names, trees, commits, plans. No input or output."""
