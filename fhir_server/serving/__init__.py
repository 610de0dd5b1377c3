"""Running it: the supervisor, its workers, and what they leave in the data folder."""
