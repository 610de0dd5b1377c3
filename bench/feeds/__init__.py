"""Invented hospitals' feeds: patients, HL7 v2 messages, SS-MIX2 storages; the same for the same seed."""
