"""Operations on one worktree: commit, restore, branch, recover. Each is journalled, and all or nothing."""
