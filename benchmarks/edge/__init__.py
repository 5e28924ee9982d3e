"""What an edge node costs: memory, time to its first answer, and room on its disk."""
