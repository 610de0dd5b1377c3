"""DIMSE services: what is done with the messages of an association (PS3.4)."""
