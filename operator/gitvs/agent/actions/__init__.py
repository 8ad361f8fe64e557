"""What operators ask of an agent.

In reading order: `operator_actions` (one method for each command to a running one), `rollback`
(which commit to go back to), `answers` (what they are told); `single_cycle` (`gitvs agent
--once`).
"""
