"""The health of the director that the agent runs on: `keeper`."""
