"""The client's methods about MCP servers, the agent language, deployments and HTTP input."""
