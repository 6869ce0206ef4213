"""What users hold in their hands: a dot by its name, a Compose stack, all dots of a store."""
