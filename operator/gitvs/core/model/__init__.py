"""What a director has or should have.

In reading order: `resources` (the kinds of object), `grouped` (values by key, in groups that
versions share), `state` (resources by key), `desired` (desired state at one commit),
`observation` (the result of one kernel reading), `ledger` (what gitvs owns), `history` (commits
and how passes ended), `allowances` (what commit messages let through), `tunnel_overhead`,
`resource_json`, `state_digest`.
"""
