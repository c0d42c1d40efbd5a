"""Workflows: tasks in order, gates, policy, approvals and telemetry (docs/workflow.md)."""
