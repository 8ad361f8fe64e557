"""Git for tests: repositories, servers, keys, a forge."""
