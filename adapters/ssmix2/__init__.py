"""SS-MIX2 storages: read, watched and written."""
