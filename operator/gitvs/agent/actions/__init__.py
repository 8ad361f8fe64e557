"""What operators ask of a running agent.

In reading order: `operator_actions` (one method for each command), `rollback` (which commit to go
back to), `answers` (what they are told).
"""
