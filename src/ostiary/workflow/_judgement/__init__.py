"""The methods of the workflow clients about gates, policy and approvals."""
