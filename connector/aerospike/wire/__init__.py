"""The columnar wire of scans: records from the socket to columns, without an object for each of them."""
