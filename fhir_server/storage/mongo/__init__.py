"""The MongoDB store: the only place that speaks to MongoDB."""
