"""What gitvs shows about a director: `agent_status`, `services`, `health`, `traffic_shares`."""
