"""What the process tells of itself: its metrics, and what calls cost."""
