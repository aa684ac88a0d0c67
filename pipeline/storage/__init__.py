"""Files that stages write and read: schema, checksums, locks."""
