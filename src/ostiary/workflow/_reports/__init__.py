"""The methods of the workflow clients that tell telemetry, and read it."""
