"""Tables kept as Arrow record batches under few keys."""
