"""Plans, problems and states as text, JSON and command lines. Pure."""
