"""States that come from and go to remotes: push, pull, clone, up from a commit, seeds."""
