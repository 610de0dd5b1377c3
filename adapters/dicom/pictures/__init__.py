"""Pictures of images: decode, transform, encode (PS3.3 C.7.6.3, C.11; PS3.5 8; PS3.18 8.3.5)."""
