"""What commands share. No command imports another command.

`options`, `choices` and `report_outputs` are option decorators, `completion` is what shells
complete of their values; `manifest_input` loads manifests, `host` opens this director's kernel and
store, `agent_request` asks the agent, `output` and `pass_output` show results; `in_child_process`,
`installation` and `lazy_group` are for single commands.
"""
