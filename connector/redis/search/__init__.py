"""Filters answered by a search index."""
