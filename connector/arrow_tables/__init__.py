"""Tables kept as Arrow record batches under few keys: what is the same in every store."""
