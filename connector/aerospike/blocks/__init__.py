"""Tables that are kept as record batches, each in a record."""
