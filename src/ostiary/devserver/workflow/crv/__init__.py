"""Gates: what a change must pass before it is made, judged by named validators."""
