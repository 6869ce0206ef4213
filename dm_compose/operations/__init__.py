"""What can be done to one worktree: commit, restore, branch, recover. Each is journalled, and all or nothing."""
