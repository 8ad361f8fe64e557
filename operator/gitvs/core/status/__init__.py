"""What gitvs shows about a director: `agent_status`, `services`, `traffic_shares`."""
