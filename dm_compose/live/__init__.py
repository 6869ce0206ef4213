"""A worktree as it is now: its files and the containers that use it; holding these still, taking them down and up."""
