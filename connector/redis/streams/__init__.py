"""Redis Streams as logs: read by ranges of IDs, with nothing lost unseen, and appended to once."""
