"""The tables, as numbered migrations. A migration that has been released is never edited; a change is a further one."""

MIGRATIONS = (
    """
    CREATE TABLE dots (
        name TEXT PRIMARY KEY,
        created TEXT NOT NULL
    ) STRICT;
    CREATE TABLE commits (
        id TEXT PRIMARY KEY,
        dot TEXT NOT NULL REFERENCES dots(name) ON DELETE CASCADE,
        created TEXT NOT NULL,
        document TEXT NOT NULL
    ) STRICT;
    CREATE INDEX commits_of_dot ON commits(dot, created);
    CREATE TABLE refs (
        dot TEXT NOT NULL REFERENCES dots(name) ON DELETE CASCADE,
        kind TEXT NOT NULL CHECK (kind IN ('branch', 'tag')),
        name TEXT NOT NULL,
        commit_id TEXT NOT NULL REFERENCES commits(id),
        PRIMARY KEY (dot, kind, name)
    ) STRICT;
    CREATE TABLE worktrees (
        dot TEXT NOT NULL REFERENCES dots(name) ON DELETE CASCADE,
        name TEXT NOT NULL,
        branch TEXT NOT NULL,
        places TEXT NOT NULL,
        PRIMARY KEY (dot, name)
    ) STRICT;
    CREATE TABLE reflog (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        dot TEXT NOT NULL REFERENCES dots(name) ON DELETE CASCADE,
        worktree TEXT NOT NULL,
        at TEXT NOT NULL,
        action TEXT NOT NULL,
        branch TEXT NOT NULL,
        old TEXT,
        new TEXT,
        saved TEXT
    ) STRICT;
    CREATE TABLE journal (
        id TEXT PRIMARY KEY,
        dot TEXT NOT NULL REFERENCES dots(name) ON DELETE CASCADE,
        document TEXT NOT NULL
    ) STRICT;
    """,
)
SCHEMA_VERSION = len(MIGRATIONS)
