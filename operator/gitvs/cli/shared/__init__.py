"""What commands share. No command imports another command.

`options`, `director_option`, `gate_options` and `report_outputs` are option decorators;
`manifest_input` loads manifests, `host` opens this director's kernel and store,
`agent_request` asks the agent, `output` and `pass_output` show results, `in_child_process`,
`installation` and `lazy_group` are for single commands.
"""
