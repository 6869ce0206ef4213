"""The datastores that dm-compose knows: one module for each, registered through the hook that plugins use."""
