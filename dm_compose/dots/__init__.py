"""The verbs of dm-compose over stores, Compose, the engine and datastores. CLI, pytest plugin and driver use nothing below it."""
