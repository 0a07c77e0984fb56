"""The migrations of the records' database, one file a revision."""
