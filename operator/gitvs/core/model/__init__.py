"""What a director has or should have.

In reading order: `resources` (the kinds of object), `state` (resources by key), `desired`
(what one commit says), `observation` (what one reading of a kernel found), `ledger` (what
gitvs owns), `history` (commits and how passes ended), `resource_json`.
"""
