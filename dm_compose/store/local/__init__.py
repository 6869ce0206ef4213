"""The store in this process: objects, trees, indexes and the database in one directory."""
