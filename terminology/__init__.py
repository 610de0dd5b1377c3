"""Terminology: units of measure now; code systems and value sets are loaded elsewhere."""
