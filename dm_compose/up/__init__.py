"""Compose's own verbs, run on a project in which all state lasts."""
