"""The methods of the workflow clients that run workflows."""
