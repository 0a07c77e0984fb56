"""What performs the verbs of a call that have commands of their own (bothway.carrier.performer)."""
