"""Viewers in the browser: our own page, and OHIF where it is installed."""
