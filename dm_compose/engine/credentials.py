"""Credentials of registries, from Docker's own configuration file and credential helpers (`docker login`)."""

from __future__ import annotations

import docker.auth
import docker.errors

from dm_compose.errors import EngineError


def registry_login(host: str) -> tuple[str, str, str] | None:
    """Return (user, password, identity token) for a registry, or None when nobody has logged in to it.

    `host` includes the port, if there is one. Either the password or the token is ''. EngineError when a credential helper
    fails.
    """
    try:
        found = docker.auth.load_config().resolve_authconfig(host)
    except (docker.errors.DockerException, docker.errors.InvalidConfigFile) as error:
        raise EngineError(
            f"asking Docker's configuration for the credentials of {host}: {type(error).__name__}",
            hint="Does `docker login` work? A credential helper it names may be missing.",
        ) from None
    if not found:
        return None
    # docker-py spells the keys in one way for credentials of a helper, and in another for those of the file.
    user = str(found.get("Username") or found.get("username") or "")
    password = str(found.get("Password") or found.get("password") or "")
    token = str(found.get("IdentityToken") or found.get("identitytoken") or "")
    return (user, password, token) if password or token else None
