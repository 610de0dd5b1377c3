"""Load programs, and the floor they compare the server with (docs/performance.md says how to read the figures)."""
