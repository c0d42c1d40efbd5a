"""What the domains describe their protocols with: checked models, open words, date-times."""
