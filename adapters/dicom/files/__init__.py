"""Images as files: import, export, media, de-identification, manifests (PS3.10, PS3.15 E)."""
