"""The state of a host, as text, JSON and commands.

`state_text`, `state_json`, `observation_json` (saved and read again), `ipvsadm` and
`ip_commands` (as commands), `real_server` (the set-up of a real server).
"""
