"""Values as text, for people and programs. Pure.

`text` (words and tables that all reports share), `plan` (plans and previews), `status` (status
and history), `host` (states as files and commands), `markdown` and `html` (a preview for a
pull request).
"""
