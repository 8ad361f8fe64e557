"""Compares one commit with another, offline, for every director that changes.

`compare` makes the preview; `starting_point` finds the commit that it starts from; `commit_lifts`
finds the commits that lift its gates; `uncommitted` says what of a work tree it lacks.
"""
