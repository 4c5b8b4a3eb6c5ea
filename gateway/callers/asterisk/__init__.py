"""What both of Asterisk's media protocols share: the calls that a dialplan has announced."""
