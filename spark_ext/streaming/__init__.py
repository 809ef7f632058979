"""Structured Streaming: Redis Streams as sources and sinks, tables of every store as sinks."""
