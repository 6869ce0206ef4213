"""Files: scanning trees, capturing what has changed, restoring trees in place. Knows no Docker, no Compose and no SQLite.

It needs the standard library only, because it also runs in the helper container (dm_compose.store.helper.server).
"""
