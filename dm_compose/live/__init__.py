"""A worktree as it is now: its files and the containers that use it. Containers are held still, taken down and up here."""
