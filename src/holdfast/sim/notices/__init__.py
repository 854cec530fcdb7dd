"""Two services in one virtual world: what the one has to tell people is carried to the other, exactly once."""
