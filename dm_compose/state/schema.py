"""The tables, as numbered migrations. A released migration is never edited. Each change is a migration of its own.

The number of migrations is the format of the whole store. So a change of the files beside the database is a migration, too, even
if no table changes: a version that does not know it then refuses the store.
"""

OPENED_IN_NEW_FORMAT = "opened-in-new-format"  # the setting that stays until somebody has told the user of the new format
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
    """
    CREATE TABLE new_commits (
        dot TEXT NOT NULL REFERENCES dots(name) ON DELETE CASCADE,
        id TEXT NOT NULL,
        created TEXT NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (dot, id)
    ) STRICT;
    INSERT INTO new_commits SELECT dot, id, created, document FROM commits ORDER BY rowid;
    CREATE TABLE new_refs (
        dot TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('branch', 'tag', 'uncommitted')),
        name TEXT NOT NULL,
        commit_id TEXT NOT NULL,
        PRIMARY KEY (dot, kind, name),
        FOREIGN KEY (dot, commit_id) REFERENCES new_commits(dot, id)
    ) STRICT;
    INSERT INTO new_refs SELECT dot, kind, name, commit_id FROM refs;
    DROP TABLE refs;
    DROP TABLE commits;
    ALTER TABLE new_commits RENAME TO commits;
    ALTER TABLE new_refs RENAME TO refs;
    CREATE INDEX commits_of_dot ON commits(dot, created);
    ALTER TABLE dots ADD COLUMN current TEXT NOT NULL DEFAULT 'main';
    ALTER TABLE worktrees ADD COLUMN project TEXT;
    ALTER TABLE worktrees ADD COLUMN tree INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE reflog ADD COLUMN left TEXT NOT NULL DEFAULT '';
    UPDATE reflog SET left = branch;
    CREATE TABLE settings (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
    CREATE TABLE volumes (
        name TEXT PRIMARY KEY,
        dot TEXT NOT NULL REFERENCES dots(name) ON DELETE CASCADE
    ) STRICT;
    CREATE TABLE digests (
        object TEXT PRIMARY KEY,
        sha256 TEXT NOT NULL
    ) STRICT;
    """,
    """
    ALTER TABLE dots ADD COLUMN owner TEXT;
    CREATE TABLE settled (
        dot TEXT NOT NULL,
        commit_id TEXT NOT NULL,
        form TEXT NOT NULL,
        PRIMARY KEY (dot, commit_id),
        FOREIGN KEY (dot, commit_id) REFERENCES commits(dot, id) ON DELETE CASCADE,
        FOREIGN KEY (dot, form) REFERENCES commits(dot, id) ON DELETE CASCADE
    ) STRICT;
    """,
    """
    CREATE TABLE verified (
        dot TEXT NOT NULL,
        commit_id TEXT NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (dot, commit_id),
        FOREIGN KEY (dot, commit_id) REFERENCES commits(dot, id) ON DELETE CASCADE
    ) STRICT;
    """,
    # Objects may have maps, and their blocks may lie in files of other commits: docs/store.md. Older objects stay as they are.
    """
    INSERT OR REPLACE INTO settings SELECT 'opened-in-new-format', '5' WHERE EXISTS (SELECT 1 FROM commits);
    """,
)
SCHEMA_VERSION = len(MIGRATIONS)
