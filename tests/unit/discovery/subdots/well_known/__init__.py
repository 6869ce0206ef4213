"""Well-known stacks, by name."""

from __future__ import annotations

from tests.unit.discovery.subdots.well_known.development import DJANGO, RAILS
from tests.unit.discovery.subdots.well_known.platforms import ELASTIC, KAFKA, MONGO_REPLICA_SET, MONITORING, SENTRY, SUPABASE
from tests.unit.discovery.subdots.well_known.websites import GITEA, IMMICH, KEYCLOAK, NEXTCLOUD, WORDPRESS

STACKS = {
    "wordpress": WORDPRESS,
    "nextcloud": NEXTCLOUD,
    "gitea": GITEA,
    "sentry": SENTRY,
    "elastic": ELASTIC,
    "monitoring": MONITORING,
    "django": DJANGO,
    "rails": RAILS,
    "supabase": SUPABASE,
    "keycloak": KEYCLOAK,
    "kafka": KAFKA,
    "mongo-replica-set": MONGO_REPLICA_SET,
    "immich": IMMICH,
}
