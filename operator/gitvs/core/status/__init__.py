"""What is shown of a director: `agent_status`, `services`, `traffic_shares`."""
