"""What a director has or should have.

In reading order: `resources` (the kinds of object), `kinds` (the table of what is true of each),
`grouped` (values by key, in groups that versions share), `state` (resources by key), `health` (how
real servers are checked), `desired` (desired state at one commit), `observation` (the result of
one kernel reading), `ledger` (what gitvs owns), `history` (commits and how passes ended),
`resource_json`, `health_json`, `state_digest`.
"""
