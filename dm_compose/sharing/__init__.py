"""States that come from remotes or go there: push, pull, clone, up from a commit, seeds."""
