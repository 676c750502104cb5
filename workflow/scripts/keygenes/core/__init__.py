"""What every room may use: errors, files, tables, the step around a script, code digests."""
