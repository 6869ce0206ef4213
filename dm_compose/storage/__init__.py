"""Files: scanning trees, immutable objects, cloning, restoring in place. Knows no Docker, no Compose, no SQLite.

Needs the standard library only, because it also runs in the helper container (dm_compose.store.helper.server).
"""
