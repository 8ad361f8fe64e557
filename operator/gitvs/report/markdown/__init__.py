"""A preview as a comment on a pull request.

In reading order: `preview`, `sections`, `details`, `escaping`.
"""
