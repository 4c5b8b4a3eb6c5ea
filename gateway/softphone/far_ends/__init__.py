"""Carriers and telephone exchanges played from their own side: what they send, what they check, what a caller hears."""
