"""The datastores that dm-compose knows: one module each, registered through the hook that plugins use."""
