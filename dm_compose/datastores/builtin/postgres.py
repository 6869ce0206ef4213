"""PostgreSQL and the images built on it.

Without fsync the server still writes its log before it answers, and before the pages that the log is about. `synchronous_commit`
stays on: without it commits would wait in memory, and nothing would be gained. `full_page_writes` stays on too: a kill can leave
half of a page.
"""

from __future__ import annotations

from dm_compose.datastores.base import Checked, Datastore, Relaxed, Running, ServiceFacts
from dm_compose.datastores.protocols import postgres_startup
from dm_compose.errors import DmError
from dm_compose.hookspecs import hookimpl

MOVED_IN = 18  # from this version on the image's volume is /var/lib/postgresql, with a directory per version inside


def data_paths(service: ServiceFacts) -> tuple[str, ...]:
    """Return `PGDATA` if it leaves the image's own place, else that place. From version 18 on it is `/var/lib/postgresql`."""
    repository = service.image.repository
    if "bitnami" in repository:
        return ("/bitnami/postgresql",)
    if "sclorg/" in repository or repository.startswith(("centos/", "rhel")):
        return ("/var/lib/pgsql/data",)
    if repository.startswith("kartoza/"):
        return ("/var/lib/postgresql",)
    default = "/var/lib/postgresql/data"
    set_here = service.environment.get("PGDATA") or service.image.environment.get("PGDATA")
    if "timescaledb-ha" in repository:
        default = "/home/postgres/pgdata/data"
    major = DATASTORE.version(service)
    if int(major) >= MOVED_IN if major is not None else repository == "postgres":  # `latest` is 18 or newer
        default = "/var/lib/postgresql"
    if set_here and not f"{set_here}/".startswith(f"{default}/"):
        return (set_here,)
    return (default,)


def asynchronous(service: ServiceFacts) -> bool:
    """Return whether the service's settings let the server acknowledge a commit before it is in a file."""
    return any("synchronous_commit=off" in word.replace(" ", "") for word in service.command)


def _superuser(running: Running) -> tuple[str, dict[str, str]]:
    """Return the name of the image's superuser, and the environment that logs him in inside the container."""
    environment = running.service.environment
    user = environment.get("POSTGRES_USER") or "postgres"
    return user, {"PGUSER": user, "PGDATABASE": "postgres", "PGPASSWORD": environment.get("POSTGRES_PASSWORD", "")}


def lets_network_in(running: Running) -> bool:
    """Return whether some rule of pg_hba.conf is about clients on other hosts. Those that `initdb` writes are about this host.

    The entrypoint adds such a rule right after `initdb`, before it makes the users and runs the scripts. A server that wants a
    password from its superuser has been set up too.
    """
    query = "select count(*) from pg_hba_file_rules where type like 'host%' and address not in ('127.0.0.1', '::1', 'localhost')"
    code, output = running.run(["psql", "-Atqc", query], environment=_superuser(running)[1])
    return code != 0 or output.strip() != "0"


_CHECK = """
tool=$(command -v pg_amcheck || command -v pg_dumpall) || { echo "the image has neither pg_amcheck nor pg_dumpall"; exit 127; }
echo "${tool##*/}"
psql -qc "select 1" 2>&1 >/dev/null || exit 127
case $tool in
*/pg_amcheck) exec pg_amcheck --all --install-missing 2>&1;;
*) exec pg_dumpall 2>&1 >/dev/null;;
esac
"""
CANNOT_CHECK = 127


def check(running: Running) -> Checked:
    """`pg_amcheck` on all tables and indexes of all databases. Where there is none (before version 14), `pg_dumpall` reads all
    rows.
    """
    code, output = running.run(["sh", "-c", _CHECK], environment=_superuser(running)[1])
    tool, _, said = output.strip().partition("\n")
    if code == CANNOT_CHECK:
        raise DmError(said.strip() or tool)
    return Checked(tool, (said.strip() or f"it ended with code {code}") if code else "")


def flush_wal(running: Running) -> None:
    """Write the log to its file by one synchronous commit, if the service runs with `synchronous_commit=off`.

    With that setting acknowledged commits wait in memory. A synchronous commit flushes all commits before it.
    """
    if not asynchronous(running.service):
        return
    user, _ = _superuser(running)
    flush = "SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'dm-compose', 'flush')"
    code, output = running.run(["psql", "-U", user, "-d", "postgres", "-qAtc", flush])
    if code:
        raise DmError(
            f"PostgreSQL runs with synchronous_commit=off and could not be told to flush: {output.strip()}",
            hint="Commit with --stop, or let `psql` connect inside the container.",
        )


_OWN_DIRECTORIES = (
    *("base", "global", "pg_wal", "pg_xlog", "pg_xact", "pg_clog", "pg_multixact", "pg_subtrans", "pg_commit_ts", "pg_logical"),
    *("pg_stat", "pg_notify", "pg_serial", "pg_snapshots", "pg_replslot", "pg_twophase", "pg_dynshmem"),
)
DATASTORE = Datastore(
    name="postgres",
    images=(
        "postgres",
        "postgresql",
        "postgresql-[0-9]*",
        "*/postgresql",
        "*/postgresql-[0-9]*",
        "bitnami*/postgresql",
        "bitnami*/postgresql-repmgr",
        "postgis/postgis",
        "*/postgis",
        "timescale/timescaledb",
        "timescale/timescaledb-ha",
        "pgvector/pgvector",
        "ankane/pgvector",
        "tensorchord/pgvecto-rs",
        "tensorchord/vchord-postgres",
        "supabase/postgres",
        "citusdata/citus",
        "paradedb/paradedb",
        "apache/age",
        "groonga/pgroonga",
        "cimg/postgres",
        "pgduckdb/pgduckdb",
        "immich-app/postgres",
    ),
    data=data_paths,
    port=5432,
    ready=postgres_startup,
    probe_lines=r"dm_ready|the database system is starting up",
    set_up=lets_network_in,
    entrypoint_ends=True,
    own_files=tuple(p for name in _OWN_DIRECTORIES for p in (name, f"{name}/*")),
    volatile=("postmaster.pid", "postmaster.opts", "pg_stat_tmp/*", "pg_internal.init"),
    markers=("PG_MAJOR", "PGDATA"),
    version_from=("PG_MAJOR", "PG_VERSION", "POSTGRESQL_VERSION"),
    tag_version=r"(?:.*pg|v?)(\d+)",  # timescaledb:2.17.2-pg16, pgvector:pg18, postgres:18-alpine
    version_parts=1,
    quiesce=flush_wal,
    check=check,
    relaxed=Relaxed(programs=("postgres", "postmaster"), words=("-c", "fsync=off")),
    tried=("15",),
)


@hookimpl
def dm_register_datastores(register):  # type: ignore[no-untyped-def]
    register(DATASTORE)
